"""The tensors of a GGUF file under the names and in the layouts of Hugging Face checkpoints.

Names: the `gguf` package's table, applied to the names that the family reads.

Order of queries and keys: llama.cpp's Llama rotates neighbouring dimensions of a head, transformers the first half
against the second, so the files hold the rows of these two matrices in another order. Other architectures, such as
Qwen, rotate halves in both programs.

Shapes: O outputs, I inputs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

from turnwise.core.errors import UserError
from turnwise.models.families import load_family
from turnwise.models.gguf.config import convert_config
from turnwise.models.gguf.header import GgufTensor
from turnwise.models.gguf.metadata import GgufMetadata
from turnwise.models.gguf.model_file import read_model
from turnwise.models.gguf.rope_scaling import ROPE_FACTORS
from turnwise.models.gguf.tensor_data import num_rows, read_rows
from turnwise.models.quantized_blocks import BLOCK_FORMATS, QuantizedBlocks
from turnwise.models.tensor_header import DTYPES_BY_CODE, TensorHeader

if TYPE_CHECKING:
    from torch import Tensor  # torch is imported only to read data: headers are checked before it is loaded

COMPUTED = (ROPE_FACTORS, ".attn_rot_embd.weight")  # rotary frequencies, which the config implies
CHUNK_ELEMENTS = 2**18  # dequantized at a time, which takes a few megabytes
INTERLEAVED_ROPE = ("llama", "smollm3")  # architectures that rotate neighbouring dimensions of a head
MODEL_ARCHS_BY_NAME = {name: arch for arch, name in MODEL_ARCH_NAMES.items()}


class GgufWeights:
    """An open GGUF file with a valid header.

    Attributes:
        path: the file, or the first one of a split model.
        tensors: headers by name in Hugging Face checkpoints. A tensor that the family does not read keeps its own name.
            The dtype of block formats is "F32", to which `read` converts them.

    Raises:
        UserError: the file is damaged or not supported.
        ModelNotFound: a file of a split model is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header = read_model(path)
        architecture = GgufMetadata(header).architecture
        hf_config = convert_config(header)
        family = load_family(hf_config["model_type"])
        try:
            config = family.from_hf_config(hf_config)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        names = get_tensor_name_map(MODEL_ARCHS_BY_NAME[architecture], config.num_layers)
        unread = {name: tensor for name, tensor in header.tensors.items() if not name.endswith(COMPUTED)}
        self._stored: dict[str, GgufTensor] = {}
        self._transposed: set[str] = set()
        self._row_order: dict[str, np.ndarray] = {}
        for mapping in family.weight_mappings(config):
            for hf_name in mapping.hf_names:
                module, _, suffix = hf_name.rpartition(".")
                if (tensor := unread.pop(f"{names.get_name(module)}.{suffix}", None)) is None:
                    continue  # reported as missing by the reader, which knows what the config requires
                self._stored[hf_name] = tensor
                if mapping.is_transposed and len(tensor.shape) == 2:
                    self._transposed.add(hf_name)
                heads = {"q_proj": config.num_heads, "k_proj": config.num_kv_heads}.get(module.rpartition(".")[2], 0)
                if architecture in INTERLEAVED_ROPE and tensor.shape[0] == heads * config.head_dim:
                    self._row_order[hf_name] = _row_order(heads, config.head_dim)
        self._stored |= unread
        self.tensors = {name: self._tensor_header(name, tensor) for name, tensor in self._stored.items()}

    def _tensor_header(self, name: str, tensor: GgufTensor) -> TensorHeader:
        dtype = "F32" if tensor.type_name in BLOCK_FORMATS else tensor.type_name
        shape = tensor.shape[::-1] if name in self._transposed else tensor.shape
        return TensorHeader(dtype, shape, tensor.start, tensor.start + tensor.num_bytes)

    def read(self, name: str) -> "Tensor":
        """Read one tensor into new memory; blocks are dequantized to float32.

        Raises:
            UserError: the format is not supported, or the file was truncated after it was opened.
        """
        import torch

        tensor, dtype = self._stored[name], self.tensors[name].dtype
        if dtype not in DTYPES_BY_CODE:
            raise UserError(f"{self.path}: '{name}' is stored as {dtype}, which is not supported.")
        result = torch.empty(tensor.shape, dtype=getattr(torch, DTYPES_BY_CODE[dtype][0]))
        order = self._row_order.get(name)
        if order is not None and len(tensor.shape) == 1:  # a bias: its elements are reordered
            return self._fill(result, tensor, None)[torch.from_numpy(order)]
        filled = self._fill(result, tensor, order)
        return filled.T if name in self._transposed else filled

    def _fill(self, result: "Tensor", tensor: GgufTensor, order: np.ndarray | None) -> "Tensor":
        """Read a tensor into `result`. With an order, row i of the result is row `order[i]` of the file."""
        import torch

        is_blocks = tensor.type_name in BLOCK_FORMATS
        flat = result.view(-1) if is_blocks else result.view(-1).view(torch.uint8)
        target_OI = flat.numpy().reshape(num_rows(tensor), -1)
        position = np.arange(num_rows(tensor)) if order is None else np.argsort(order)
        for rows in _chunks(tensor):
            stored_OB = read_rows(tensor, rows.start, rows.stop)
            values = (
                QuantizedBlocks(tensor.type_name, tensor.shape[-1], stored_OB).dequantize() if is_blocks else stored_OB
            )
            target_OI[position[rows.start : rows.stop]] = values
        return result

    def block_format(self, name: str) -> str | None:
        """The format of a matrix that is stored in blocks; None for other tensors."""
        tensor = self._stored[name]
        return tensor.type_name if tensor.type_name in BLOCK_FORMATS and len(tensor.shape) == 2 else None

    def quantized(self, name: str) -> QuantizedBlocks | None:
        """The blocks of a matrix with a `block_format`, with a row per output; None for other tensors.

        Raises:
            UserError: the file was truncated after it was opened.
        """
        if self.block_format(name) is None:
            return None
        tensor = self._stored[name]
        blocks = QuantizedBlocks(tensor.type_name, tensor.shape[-1], read_rows(tensor, 0, num_rows(tensor)))
        order = self._row_order.get(name)
        return blocks if order is None else blocks.select_rows(order)


def _row_order(num_heads: int, head_dim: int) -> np.ndarray:
    """For each row of a Hugging Face checkpoint, the row of the file: neighbours in the file are half a head apart."""
    return np.arange(num_heads * head_dim).reshape(num_heads, head_dim // 2, 2).swapaxes(1, 2).reshape(-1)


def _chunks(tensor: GgufTensor) -> Iterator[range]:
    rows, chunk = num_rows(tensor), max(1, CHUNK_ELEMENTS // tensor.shape[-1])
    return (range(start, min(start + chunk, rows)) for start in range(0, rows, chunk))
