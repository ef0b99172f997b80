"""Lays tensors out for the compiled library, and keeps the memory that its structures point to."""

import ctypes
import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MAPPED = 2**18  # bytes, from which on memory is taken from the system
CHUNK = 2**19  # numbers of a matrix that are converted at a time: 2 MB as float32


class Packer:
    """Memory for the library; `panel` outputs of a matrix lie together."""

    def __init__(self, panel: int) -> None:
        self._panel = panel
        self._kept: list[Any] = []

    @property
    def nbytes(self) -> int:
        """Memory of all that was laid out."""
        return sum(kept.nbytes for kept in self._kept if isinstance(kept, np.ndarray))

    def padded(self, tensor: Tensor) -> Tensor:
        """As float32, filled up with zeros to whole panels of rows."""
        missing = -len(tensor) % self._panel
        found = tensor.detach().float().contiguous()
        return nn.functional.pad(found, (0, 0) * (tensor.dim() - 1) + (0, missing)) if missing else found

    def alternating(self, gate_and_up: Tensor) -> Tensor:
        """Rows of the gate's panels and of the other projection's in turn, so that one thread computes both."""
        gate, up = (self.padded(part) for part in gate_and_up.chunk(2))
        by_panel = (-1, self._panel, gate.shape[1])
        return torch.stack([gate.view(by_panel), up.view(by_panel)], dim=1).view(-1, gate.shape[1])

    def chunks(self, weight_OI: Tensor, dtype: torch.dtype, *, gated: bool) -> Iterator[tuple[int, Tensor]]:
        """A matrix as `padded`, or where it is gated `alternating`, lays it out, a few panels at a time.

        Args:
            weight_OI: the matrix, of any type.
            dtype: the type to round it to first.
            gated: whether it is a gate and what it gates.

        Yields:
            The number of the first panel, and rows of float32.
        """
        parts = weight_OI.chunk(2) if gated else (weight_OI,)
        step = max(1, CHUNK // (len(parts) * self._panel * max(1, weight_OI.shape[1]))) * self._panel
        for start in range(0, len(parts[0]), step):
            rows = torch.cat([part[start : start + step] for part in parts]).to(dtype)
            laid_out = self.alternating(rows) if gated else self.padded(rows)
            yield start // self._panel * len(parts), laid_out

    def panels_of(self, outputs: int, *, gated: bool) -> int:
        """How many panels `chunks` yields in all for a matrix of so many rows."""
        return 2 * -(-outputs // 2 // self._panel) if gated else -(-outputs // self._panel)

    def in_panels(self, padded_OI: Tensor) -> NDArray[np.float32]:
        """`(O / panel, I, panel)`, from whole panels of rows."""
        by_panel = padded_OI.view(-1, self._panel, padded_OI.shape[1])
        found: NDArray[np.float32] = by_panel.transpose(1, 2).contiguous().numpy()
        return found

    def floats(self, tensor: Tensor | None) -> int | None:
        """The address of a tensor as it lies, or of nothing."""
        return None if tensor is None else self.address(tensor.detach().float().contiguous().numpy())

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """Memory that stays, taken from the system: among what is converted and freed it would leave gaps."""
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if size < MAPPED:
            return np.empty(shape, dtype)
        return np.frombuffer(mmap.mmap(-1, size), dtype, count).reshape(shape)

    def address(self, array: NDArray[Any]) -> int:
        """Where an array lies, which is kept from now on."""
        assert array.flags.c_contiguous, "the library reads rows one after the other"
        self._kept.append(array)
        return int(ctypes.cast(array.ctypes.data, ctypes.c_void_p).value or 0)

    def keep(self, structures: ctypes.Array[Any]) -> ctypes.Array[Any]:
        """An array of the library's structures, kept from now on."""
        self._kept.append(structures)
        return structures
