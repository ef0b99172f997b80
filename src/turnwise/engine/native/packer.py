"""Converts tensors to the layout of the compiled library, and keeps the memory alive that its structures point to.

Shapes: O outputs, I inputs.
"""

import ctypes
import math
import mmap
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MIN_MMAP_BYTES = 2**18  # larger arrays are allocated with mmap


class Packer:
    """Owner of the arrays that the library reads; `panel` outputs of a matrix are stored together."""

    def __init__(self, panel: int) -> None:
        self._panel = panel
        self._retained: list[Any] = []

    @property
    def nbytes(self) -> int:
        """Memory of all packed arrays in bytes."""
        return sum(array.nbytes for array in self._retained if isinstance(array, np.ndarray))

    def pad_rows(self, tensor: Tensor) -> Tensor:
        """The tensor as float32, padded with zero rows to a multiple of the panel size."""
        padding = -len(tensor) % self._panel
        rows = tensor.detach().float().contiguous()
        return nn.functional.pad(rows, (0, 0) * (tensor.dim() - 1) + (0, padding)) if padding else rows

    def interleave_gate_up(self, gate_up: Tensor) -> Tensor:
        """Rows of gate panels and up panels alternately, padded, so that one thread computes both."""
        gate, up = (self.pad_rows(half) for half in gate_up.chunk(2))
        by_panel = (-1, self._panel, gate.shape[1])
        return torch.stack([gate.view(by_panel), up.view(by_panel)], dim=1).view(-1, gate.shape[1])

    def panel_rows(self, outputs: int, *, is_gate_up: bool) -> NDArray[np.int64]:
        """Row of the matrix for each output in panel order; -1 for the zero rows that fill the last panel.

        With `is_gate_up` the matrix is a fused gate and up projection, whose panels alternate.
        """
        num_parts = 2 if is_gate_up else 1
        rows = np.arange(outputs, dtype=np.int64).reshape(num_parts, -1)
        padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % self._panel)), constant_values=-1)
        return padded.reshape(num_parts, -1, self._panel).swapaxes(0, 1).reshape(-1)

    def in_panels(self, padded_OI: Tensor) -> NDArray[np.float32]:
        """Transpose each panel of padded rows: `(O / panel, I, panel)`."""
        by_panel = padded_OI.view(-1, self._panel, padded_OI.shape[1])
        panels: NDArray[np.float32] = by_panel.transpose(1, 2).contiguous().numpy()
        return panels

    def float_address(self, tensor: Tensor | None) -> int | None:
        """Address of a tensor as float32 in its present layout; None for None."""
        return None if tensor is None else self.address(tensor.detach().float().contiguous().numpy())

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """Uninitialised array that is kept for long.

        Large arrays are mapped separately: among the temporary buffers of conversion they would fragment the heap.
        """
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if size < MIN_MMAP_BYTES:
            return np.empty(shape, dtype)
        return np.frombuffer(mmap.mmap(-1, size), dtype, count).reshape(shape)

    def address(self, array: NDArray[Any]) -> int:
        """Address of an array, which is kept alive from now on."""
        assert array.flags.c_contiguous, "the library reads contiguous arrays"
        self._retained.append(array)
        return int(ctypes.cast(array.ctypes.data, ctypes.c_void_p).value or 0)

    def retain(self, structures: ctypes.Array[Any]) -> ctypes.Array[Any]:
        """Keep an array of the library's structures alive."""
        self._retained.append(structures)
        return structures
