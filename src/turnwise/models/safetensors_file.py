"""Reads safetensors files tensor by tensor, without mapping them into memory.

The safetensors library maps the file, and all pages that were read count as memory of the process until the file is
closed: converting a model while reading it would take its memory twice. This reader copies the bytes of one tensor at a
time. It checks the header first, so that a damaged header cannot make it allocate more than the file holds.

Format: eight bytes with the length of the header, the header (JSON: dtype, shape and offsets of each tensor), the data.
https://github.com/huggingface/safetensors#format
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from turnwise.core.errors import UserError
from turnwise.core.json_file import parse_json, preview
from turnwise.models.quantized_blocks import QuantizedBlocks
from turnwise.models.tensor_header import DTYPES_BY_CODE, TensorHeader

if TYPE_CHECKING:
    from torch import Tensor  # torch is imported only to read data: headers are checked before it is loaded

MAX_HEADER_BYTES = 100_000_000  # limit of the format
MAX_DIMENSIONS = 8
READ_BYTES = 2**28  # per system call


class SafetensorsFile:
    """An open file with a valid header.

    Attributes:
        path: the file.
        tensors: headers by name.

    Raises:
        UserError: the file cannot be read or its header is invalid.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._as_user_error():
            with path.open("rb") as file:
                size = path.stat().st_size
                header_size = int.from_bytes(file.read(8), "little")
                if size < 8 or not 2 <= header_size <= min(MAX_HEADER_BYTES, size - 8):
                    raise ValueError("its header does not fit the file")
                header = parse_json(file.read(header_size), "its header")
            if not isinstance(header, dict):
                raise ValueError("its header is not an object")
            header.pop("__metadata__", None)
            self.tensors: Mapping[str, TensorHeader] = {
                name: _parse_tensor_header(name, entry, 8 + header_size, size) for name, entry in header.items()
            }

    def read(self, name: str) -> "Tensor":
        """Read one tensor into new memory.

        Raises:
            UserError: the dtype is not supported, or the file was truncated after it was opened.
        """
        import torch

        header = self.tensors[name]
        if header.dtype not in DTYPES_BY_CODE:
            raise UserError(f"'{name}' is stored as {header.dtype}; quantized weights are not supported.")
        tensor = torch.empty(header.shape, dtype=getattr(torch, DTYPES_BY_CODE[header.dtype][0]))
        if tensor.numel():
            with self._as_user_error(), self.path.open("rb", buffering=0) as file:
                file.seek(header.start)
                _read_into(file, memoryview(tensor.view(-1).view(torch.uint8).numpy().data))
        return tensor

    def block_format(self, name: str) -> None:
        """None: the supported dtypes have no blocks."""

    def quantized(self, name: str) -> QuantizedBlocks | None:  # noqa: ARG002
        """None; see `block_format`."""
        return None

    @contextmanager
    def _as_user_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        except ValueError as error:
            raise UserError(f"{self.path} is damaged: {str(error).rstrip('.')}.") from error


def _parse_tensor_header(name: str, entry: Any, data_start: int, file_size: int) -> TensorHeader:
    """The description of a tensor. Its offsets in the header count from the end of the header."""
    entry = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (
        entry.get("dtype"),
        _parse_sizes(entry.get("shape")),
        _parse_sizes(entry.get("data_offsets")),
    )
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise ValueError(f"the header of {preview(name)} is not a dtype, a shape and two offsets")
    start, stop = (data_start + offset for offset in offsets)
    if not start <= stop <= file_size:
        raise ValueError(f"{preview(name)} lies beyond its end")
    if dtype in DTYPES_BY_CODE and math.prod(shape) * DTYPES_BY_CODE[dtype][1] != stop - start:
        raise ValueError(f"the shape of {preview(name)} does not match its {stop - start:,} bytes")
    return TensorHeader(dtype, shape, start, stop)


def _parse_sizes(value: Any) -> tuple[int, ...] | None:
    """A list of at most `MAX_DIMENSIONS` sizes, or None for anything else."""
    is_sizes = isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)
    return tuple(value) if is_sizes and len(value) <= MAX_DIMENSIONS else None


def _read_into(file: BinaryIO, view: memoryview) -> None:
    while view:
        count = file.readinto(view[:READ_BYTES])  # type: ignore[attr-defined]
        if not count:
            raise ValueError("it is truncated")
        view = view[count:]
