"""Writes a decoder as a GGUF file that llama.cpp opens.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Matrices are written in one of ggml's types; norms,
biases and position embeddings as float32. The header, which has the types and sizes of all tensors, comes first. Then
each tensor is written when it comes, so that one is in memory at a time.

Shapes: O outputs, I inputs.
"""

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType
from numpy.typing import NDArray
from torch import Tensor

from turnwise.core.files import atomic_file
from turnwise.models.block_quantization import BlockFormat
from turnwise.models.decoder_weights import DecoderWeights
from turnwise.models.families import load_family
from turnwise.models.gguf.config_writer import architecture_of, check_config, rope_factors, write_config
from turnwise.models.gguf.header_reader import read_header
from turnwise.models.gguf.rope_scaling import ROPE_FACTORS
from turnwise.models.gguf.tokenizer_writer import GgufTokenizer, write_tokenizer
from turnwise.models.gguf.weights import INTERLEAVED_ROPE, MODEL_ARCHS_BY_NAME
from turnwise.models.quantization import GROUP
from turnwise.models.quantized_blocks import QuantizedBlocks

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"]
BLOCK_FORMATS_BY_TYPE: dict[str, BlockFormat] = {"q8_0": "Q8_0", "q4_0": "Q4_0", "q4_1": "Q4_1"}
FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16, "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
}  # fmt: skip
FLOAT_DTYPES = {
    GGMLQuantizationType.F32: torch.float32, GGMLQuantizationType.F16: torch.float16,
    GGMLQuantizationType.BF16: torch.bfloat16,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _FileTensor:
    """A tensor of the file: rows of one of the decoder's tensors, in the order of the file."""

    name: str
    ggml_type: GGMLQuantizationType
    shape: tuple[int, ...]
    rows: NDArray[np.int64]


def write_gguf(
    path: Path,
    weights: DecoderWeights,
    gguf_type: GgufType,
    tensors: Iterable[tuple[str, "Tensor | QuantizedBlocks"]],
    tokenizer: GgufTokenizer,
    general: Mapping[str, Any],
) -> None:
    """Write a file. It appears when it is complete.

    Args:
        path: the new file.
        weights: config, names and shapes of the decoder's tensors.
        gguf_type: type of the file.
        tensors: all tensors of the decoder by name, in the order and the formats of `block_formats`. Matrices without a
            block format come as floats and are converted to the file's type. No tensor is kept in memory.
        tokenizer: the tokenizer.
        general: texts of the metadata section `general`.

    Raises:
        UserError: the model or its tokenizer cannot be written. It is raised before `tensors` is consumed.
        SaveFailed: a write failed.
    """
    config = weights.config
    architecture = architecture_of(config)
    file_tensors = _file_tensors(weights, gguf_type, architecture)
    factors = rope_factors(config)
    with atomic_file(path) as temporary, closing(gguf.GGUFWriter(str(temporary), architecture)) as writer:
        write_config(writer, config, general)
        writer.add_file_type(FILE_TYPES[gguf_type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        write_tokenizer(writer, tokenizer, config.vocab_size)
        if factors is not None:
            _add_info(writer, ROPE_FACTORS, GGMLQuantizationType.F32, factors.shape)
        for file_tensor in chain.from_iterable(file_tensors.values()):
            _add_info(writer, file_tensor.name, file_tensor.ggml_type, file_tensor.shape)
        num_data_bytes = sum(_padded(info.nbytes, writer.data_alignment) for info in writer.tensors[0].values())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        header_size = _padded(temporary.stat().st_size, writer.data_alignment)
        if factors is not None:
            writer.write_tensor_data(factors)
            writer.flush()
        # The file gets its full size at once, because a reader refuses tensors that lie beyond its end.
        os.truncate(temporary, header_size + num_data_bytes)
        check_config(replace(read_header(temporary), path=path), config)
        for (expected_name, splits), (name, tensor) in zip(file_tensors.items(), tensors, strict=True):
            assert name == expected_name, f"{name} comes before {expected_name}"
            for file_tensor in splits:
                writer.write_tensor_data(_encode(tensor, file_tensor))


def block_formats(weights: DecoderWeights, gguf_type: GgufType) -> dict[str, BlockFormat | None]:
    """The block format of every tensor of a decoder, None for floats, in the order of the file.

    Embedding and LM head, which lose more accuracy with 4 bits than the layers, have 8 bits. Rows that groups of 32
    inputs do not divide stay floats. The quantized matrices of the layers are last, because calibration yields them
    layer by layer.
    """
    formats = {name: _block_format(name, tuple(shape), gguf_type) for name, shape in weights.shapes.items()}
    return dict(sorted(formats.items(), key=lambda item: item[1] is not None and item[0].startswith("layers.")))


def _block_format(name: str, shape: tuple[int, ...], gguf_type: GgufType) -> BlockFormat | None:
    if gguf_type not in BLOCK_FORMATS_BY_TYPE or len(shape) != 2 or name == "position.weight" or shape[1] % GROUP:
        return None
    return "Q8_0" if name in ("embed.weight", "head.weight") else BLOCK_FORMATS_BY_TYPE[gguf_type]


def _file_tensors(weights: DecoderWeights, gguf_type: GgufType, architecture: str) -> dict[str, list[_FileTensor]]:
    """For each tensor of the decoder, the tensors of the file that its rows are split into."""
    config = weights.config
    mappings = {mapping.decoder_name: mapping for mapping in load_family(config.family).weight_mappings(config)}
    names = gguf.get_tensor_name_map(MODEL_ARCHS_BY_NAME[architecture], config.num_layers)
    file_tensors: dict[str, list[_FileTensor]] = {}
    for decoder_name, block_format in block_formats(weights, gguf_type).items():
        mapping, shape = mappings[decoder_name], tuple(weights.shapes[decoder_name])
        ggml_type = _ggml_type(shape, block_format, gguf_type)
        start, splits = 0, list[_FileTensor]()
        for hf_name, size in zip(mapping.hf_names, mapping.split_sizes or shape[:1], strict=True):
            module, _, suffix = hf_name.rpartition(".")
            rows = np.arange(start, start + size)
            if architecture in INTERLEAVED_ROPE and module.endswith(("q_proj", "k_proj")):
                rows = rows[interleaved_order(size, config.head_dim)]
            splits.append(_FileTensor(f"{names.get_name(module)}.{suffix}", ggml_type, (size, *shape[1:]), rows))
            start += size
        file_tensors[decoder_name] = splits
    return file_tensors


def interleaved_order(num_rows: int, head_dim: int) -> NDArray[np.int64]:
    """For each row of a file of Llama's, the row of a Hugging Face checkpoint: halves of a head alternate."""
    return np.arange(num_rows).reshape(-1, 2, head_dim // 2).swapaxes(1, 2).reshape(-1)


def _ggml_type(shape: tuple[int, ...], block_format: BlockFormat | None, gguf_type: GgufType) -> GGMLQuantizationType:
    if block_format is not None:
        return GGMLQuantizationType[block_format]
    is_half = len(shape) > 1 and gguf_type in ("f16", "bf16")
    return GGMLQuantizationType[gguf_type.upper()] if is_half else GGMLQuantizationType.F32


def _add_info(writer: gguf.GGUFWriter, name: str, ggml_type: GGMLQuantizationType, shape: tuple[int, ...]) -> None:
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[ggml_type]
    num_bytes = math.prod(shape) // block_size * block_bytes
    # The dtype counts only without `raw_dtype`; bytes would mean that the shape counts bytes too.
    writer.add_tensor_info(name, shape, np.dtype(np.float32), num_bytes, raw_dtype=ggml_type)


def _padded(num_bytes: int, alignment: int) -> int:
    return -(-num_bytes // alignment) * alignment


def _encode(tensor: "Tensor | QuantizedBlocks", file_tensor: _FileTensor) -> NDArray[np.uint8]:
    """The bytes of a tensor of the file."""
    if isinstance(tensor, QuantizedBlocks):
        assert tensor.format == file_tensor.ggml_type.name, f"{file_tensor.name} comes in another format"
        return tensor.select_rows(file_tensor.rows).blocks_OB
    values = tensor[torch.from_numpy(file_tensor.rows)].to(FLOAT_DTYPES[file_tensor.ggml_type])
    encoded: NDArray[np.uint8] = values.contiguous().view(torch.uint8).numpy()
    return encoded
