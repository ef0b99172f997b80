"""The tensors of a model folder by name, in one safetensors file, in shards, or in a GGUF file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.models.model_folders import weight_files
from turnwise.models.quantized_blocks import QuantizedBlocks
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.stored_models import GGUF_FILE
from turnwise.models.tensor_header import DTYPES_BY_CODE, TensorHeader

if TYPE_CHECKING:
    from torch import Tensor

# Tensors of some checkpoints that need not be read: they are computed, or copies of others.
IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", "lm_head.weight")


class WeightFile(Protocol):
    """An open file with tensors: `SafetensorsFile` or `GgufWeights`."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def tensors(self) -> Mapping[str, TensorHeader]:
        """Headers by name."""

    def read(self, name: str) -> "Tensor":
        """Read one tensor into new memory."""

    def block_format(self, name: str) -> str | None:
        """The format of a matrix that is stored in blocks; None for other tensors."""

    def quantized(self, name: str) -> QuantizedBlocks | None:
        """The blocks of a matrix with a `block_format`, with a row per output; None for other tensors."""


def open_weight_file(path: Path) -> WeightFile:
    """Open a weight file by its kind. Raises `UserError` if it is damaged."""
    if path.name != GGUF_FILE:
        return SafetensorsFile(path)
    from turnwise.models.gguf.weights import GgufWeights

    return GgufWeights(path)


class TensorFiles:
    """The tensors of a folder. All headers are read and checked at once, data on request.

    Raises:
        ModelNotFound: there are no weights, or a shard is missing.
        UserError: a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file_of: dict[str, WeightFile] = {}
        for path in weight_files(folder):
            file = open_weight_file(path)
            if duplicate := next((name for name in file.tensors if name in self._file_of), None):
                raise UserError(f"{folder}: {preview(duplicate)} is in two of the weight files.")
            self._file_of.update(dict.fromkeys(file.tensors, file))

    def __len__(self) -> int:
        """Number of tensors."""
        return len(self._file_of)

    @property
    def largest_dimension(self) -> int:
        """The largest dimension of all shapes."""
        return max((size for header in self._headers() for size in header.shape), default=0)

    @property
    def num_elements(self) -> int:
        """Number of elements of all tensors."""
        return sum(math.prod(header.shape) for header in self._headers())

    def _headers(self) -> Iterator[TensorHeader]:
        return (file.tensors[name] for name, file in self._file_of.items())

    def header(self, name: str) -> TensorHeader:
        """Dtype and shape of a tensor.

        Raises:
            UserError: the tensor is missing or its dtype is not supported.
        """
        stored_name = self._stored_name(name)
        header = self._file_of[stored_name].tensors[stored_name]
        if header.dtype not in DTYPES_BY_CODE:
            raise UserError(f"'{stored_name}' is stored as {header.dtype}; quantized weights are not supported.")
        return header

    def get(self, name: str) -> "Tensor":
        """Read a tensor. Raises as `header` does, and `UserError` if the file was truncated meanwhile."""
        stored_name = self._stored_name(name)
        return self._file_of[stored_name].read(stored_name)

    def block_format(self, name: str) -> str | None:
        """The format of a matrix that is stored in blocks; None for other tensors. Raises as `header` does."""
        stored_name = self._stored_name(name)
        return self._file_of[stored_name].block_format(stored_name)

    def quantized(self, name: str) -> QuantizedBlocks | None:
        """The blocks of a matrix with a `block_format`, with a row per output; None for others. Raises as `get`."""
        stored_name = self._stored_name(name)
        return self._file_of[stored_name].quantized(stored_name)

    def _stored_name(self, name: str) -> str:
        """The name in the file: some checkpoints omit the prefix of the outer module."""
        stored_name = name if name in self._file_of else name.removeprefix("model.").removeprefix("transformer.")
        if stored_name not in self._file_of:
            raise UserError(f"The weights are not complete: the tensor '{name}' is missing.")
        return stored_name

    def reject_unread_tensors(self, names: Sequence[str], model_type: str) -> None:
        """Raise `UserError` if the files have other tensors: a model without them would give wrong results.

        Args:
            names: names that the family reads.
            model_type: the family, for the message.
        """
        read_names = {self._stored_name(name) for name in names}
        unread = [name for name in self._file_of if name not in read_names and not name.endswith(IGNORED_SUFFIXES)]
        if unread:
            raise UserError(
                f"{self._folder}: '{unread[0]}' is not part of a {model_type} model as config.json describes it"
                + (f", nor are {len(unread) - 1} other tensors." if unread[1:] else ".")
            )
