"""Writes a decoder as a GGUF file that llama.cpp opens.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Matrices are written in one of ggml's types; norms,
biases and position embeddings as float32.

Shapes: O outputs, I inputs.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turnwise.core.files import atomic_file
from turnwise.models.block_quantization import BlockFormat
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.families import load_family
from turnwise.models.gguf.config_writer import architecture_of, write_config
from turnwise.models.gguf.tokenizer_writer import write_tokenizer
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


def write_gguf(
    path: Path,
    config: DecoderConfig,
    tensors: Iterable[tuple[str, "Tensor | QuantizedBlocks"]],
    gguf_type: GgufType,
    folder: Path,
    chat_template: str | None,
    general: Mapping[str, Any],
) -> None:
    """Write a file. It appears when it is complete.

    Args:
        path: the new file.
        config: the decoder's config.
        tensors: tensors of the decoder by name, as floats or in blocks.
        gguf_type: type of the file; matrices that come as floats are written in it, unless it is a block format.
        folder: model folder with the tokenizer.
        chat_template: the chat template, or None.
        general: texts of the metadata section `general`.

    Raises:
        UserError: the model or its tokenizer cannot be written.
        SaveFailed: a write failed.
    """
    architecture = architecture_of(config)
    family = load_family(config.family)
    mappings = {mapping.decoder_name: mapping for mapping in family.weight_mappings(config)}
    names = gguf.get_tensor_name_map(MODEL_ARCHS_BY_NAME[architecture], config.num_layers)
    with atomic_file(path) as temporary:
        writer = gguf.GGUFWriter(str(temporary), architecture)
        write_config(writer, config, general)
        writer.add_file_type(FILE_TYPES[gguf_type])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        write_tokenizer(writer, folder, config.vocab_size, chat_template)
        for decoder_name, tensor in tensors:
            mapping = mappings[decoder_name]
            sizes = mapping.split_sizes or (len(tensor) if isinstance(tensor, Tensor) else tensor.outputs,)
            start = 0
            for hf_name, size in zip(mapping.hf_names, sizes, strict=True):
                module, _, suffix = hf_name.rpartition(".")
                rows = np.arange(start, start + size)
                if architecture in INTERLEAVED_ROPE and module.endswith(("q_proj", "k_proj")):
                    rows = rows[neighbour_order(size, config.head_dim)]
                _add_rows(writer, f"{names.get_name(module)}.{suffix}", tensor, rows, gguf_type)
                start += size
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def neighbour_order(num_rows: int, head_dim: int) -> NDArray[np.int64]:
    """For each row of a file of Llama's, the row of a Hugging Face checkpoint: halves of a head alternate."""
    return np.arange(num_rows).reshape(-1, 2, head_dim // 2).swapaxes(1, 2).reshape(-1)


def _add_rows(
    writer: gguf.GGUFWriter, name: str, tensor: "Tensor | QuantizedBlocks", rows: NDArray[np.int64], gguf_type: GgufType
) -> None:
    if isinstance(tensor, QuantizedBlocks):
        selected = tensor.select_rows(rows)
        writer.add_tensor(name, selected.blocks_OB, raw_dtype=gguf.GGMLQuantizationType[tensor.format])
        return
    values = tensor[torch.from_numpy(rows)]
    if values.dim() < 2 or gguf_type not in ("f16", "bf16"):
        writer.add_tensor(name, values.float().contiguous().numpy())
    elif gguf_type == "f16":
        writer.add_tensor(name, values.half().contiguous().numpy())
    else:
        bits = values.bfloat16().contiguous().view(torch.uint8).numpy()
        writer.add_tensor(name, bits, raw_dtype=gguf.GGMLQuantizationType.BF16)


def block_format_of(name: str, shape: tuple[int, ...], gguf_type: GgufType) -> BlockFormat | None:
    """The block format that a matrix is written in; None for floats.

    Embedding and LM head, which lose more accuracy with 4 bits than the layers, have 8 bits. Rows that groups of 32
    inputs do not divide stay floats.
    """
    if gguf_type not in BLOCK_FORMATS_BY_TYPE or len(shape) != 2 or name == "position.weight" or shape[1] % GROUP:
        return None
    return "Q8_0" if name in ("embed.weight", "head.weight") else BLOCK_FORMATS_BY_TYPE[gguf_type]
