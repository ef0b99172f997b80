"""Reading safetensors files tensor by tensor, without mapping them.

The library's own reader maps the file, and every page that was read counts as memory of the process until the file is
closed: a model that is converted while it is read would take its memory twice. Here a tensor's bytes are read into
memory of their own. The header is checked before: whatever it says, nothing is allocated that the file does not hold.

The format: eight bytes with the header's length, the header (JSON: type, shape and offsets of each tensor), the data.
https://github.com/huggingface/safetensors#format
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnwise.core.errors import UserError
from turnwise.core.json_file import parse_json, preview

if TYPE_CHECKING:
    from torch import Tensor  # imported where data is read: headers are checked before torch is loaded

MAX_HEADER = 100_000_000  # bytes, the format's own limit
TYPES = {"F32": ("float32", 4), "BF16": ("bfloat16", 2), "F16": ("float16", 2)}  # torch's name, bytes


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Where a tensor lies in its file, and what it is; `dtype` is the format's name."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class SafetensorsFile:
    """A file whose header was read and checked.

    Attributes:
        path: the file.
        tensors: the headers by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._damaged():
            with path.open("rb") as file:
                size = path.stat().st_size
                length = int.from_bytes(file.read(8), "little")
                if size < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
                    raise ValueError("its header does not fit the file")
                header = parse_json(file.read(length), "its header")
            self._start = 8 + length
            if not isinstance(header, dict):
                raise ValueError("its header is no object")
            header.pop("__metadata__", None)
            data = size - self._start
            self.tensors: Mapping[str, TensorHeader] = {
                name: _tensor_header(name, entry, data) for name, entry in header.items()
            }

    def read(self, name: str) -> "Tensor":
        """One tensor, in memory of its own.

        Raises:
            UserError: its type is none that we compute with, or the file is shorter than when it was opened.
        """
        import torch

        header = self.tensors[name]
        if header.dtype not in TYPES:
            raise UserError(f"'{name}' is stored as {header.dtype}; quantised weights are not supported.")
        tensor = torch.empty(header.shape, dtype=getattr(torch, TYPES[header.dtype][0]))
        if tensor.numel():
            with self._damaged(), self.path.open("rb", buffering=0) as file:
                file.seek(self._start + header.start)
                _read_into(file, memoryview(tensor.view(-1).view(torch.uint8).numpy().data))
        return tensor

    @contextmanager
    def _damaged(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        except ValueError as error:
            raise UserError(f"{self.path} is damaged: {str(error).rstrip('.')}.") from error


def _tensor_header(name: str, entry: Any, data: int) -> TensorHeader:
    entry = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise ValueError(f"the header of {preview(name)} is not a type, a shape and two offsets")
    start, stop = offsets
    if not 0 <= start <= stop <= data:
        raise ValueError(f"{preview(name)} lies beyond its end")
    if dtype in TYPES and math.prod(shape) * TYPES[dtype][1] != stop - start:
        raise ValueError(f"the shape of {preview(name)} does not fit its {stop - start:,} bytes")
    return TensorHeader(dtype, shape, start, stop)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A list of at most eight sizes, or None for anything else."""
    if isinstance(value, list) and len(value) <= 8 and all(type(size) is int and size >= 0 for size in value):
        return tuple(value)
    return None


def _read_into(file: Any, view: memoryview) -> None:
    while view:
        count = file.readinto(view[: 2**28])
        if not count:
            raise ValueError("it is cut short")
        view = view[count:]
