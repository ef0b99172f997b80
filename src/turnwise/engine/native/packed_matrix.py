"""Arranges a weight matrix in panels for the compiled library.

A matrix consists of segments: consecutive outputs in one storage format. Most have one; queries, keys and values that a
GGUF file stores in different formats are a segment each.

Shapes: O outputs, I inputs, G groups of inputs, P panels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from turnwise.engine.native.ggml_formats import GGML_FORMATS, IntegerRows, unpack_blocks
from turnwise.engine.native.packer import Packer
from turnwise.engine.native.structs import MatrixSegment, PackedMatrix, WeightFormat
from turnwise.models.quantization import quantize_weight
from turnwise.models.quantized_blocks import QuantizedBlocks

CHUNK_ELEMENTS = 2**19  # weights that are converted at a time: 2 MB as float32
FOUR_BIT_FORMATS = (WeightFormat.INT4_GROUP, WeightFormat.INT4_GROUP_MIN, WeightFormat.INT4_SUPER_BLOCK)
QUANTIZED_BITS = {WeightFormat.INT8: 8, WeightFormat.INT4_GROUP: 4}  # formats that floats are rounded to


class MatrixPacker(Packer):
    """Converts matrices a few rows at a time, so that no second copy of a matrix is in memory."""

    def __init__(self, panel: int, group: int) -> None:
        super().__init__(panel)
        self._group = group

    def pack_floats(
        self,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        weight_format: WeightFormat,
        dtype: torch.dtype,
        *,
        is_gate_up: bool = False,
    ) -> PackedMatrix:
        """Store a matrix as floats, or round it to integers.

        Args:
            weight_OI: the matrix, of any dtype.
            bias_O: its bias, or None.
            weight_format: storage format: a float format, INT8 or INT4_GROUP.
            dtype: dtype to round the weights to first.
            is_gate_up: True for a fused gate and up projection.
        """
        inputs = weight_OI.shape[1]
        rows = self.panel_rows(len(weight_OI), is_gate_up=is_gate_up)

        def float_chunks() -> Iterator[Tensor]:
            for chunk_rows in self._chunks(rows, inputs):
                chunk_OI = weight_OI[torch.from_numpy(np.maximum(chunk_rows, 0))].to(dtype).float()
                chunk_OI[torch.from_numpy(chunk_rows < 0)] = 0
                yield chunk_OI

        if weight_format in QUANTIZED_BITS:
            segment = self._integer_segment(
                weight_format, inputs, len(rows), map(self._quantizer(weight_format), float_chunks())
            )
        else:
            segment = self._float_segment(weight_format, inputs, len(rows), float_chunks())
        return self._matrix([segment], bias_O, inputs, rows)

    def can_pack_blocks(self, parts: Sequence[QuantizedBlocks], *, is_gate_up: bool) -> bool:
        """True if the library computes these formats, and stores the parts without converting them."""
        if any(matrix.format not in GGML_FORMATS or matrix.inputs % self._group for matrix in parts):
            return False
        if len({matrix.format for matrix in parts}) == 1:
            return True
        return not is_gate_up and all(matrix.outputs % self._panel == 0 for matrix in parts[:-1])

    def pack_blocks(
        self, parts: Sequence[QuantizedBlocks], bias_O: Tensor | None, *, is_gate_up: bool = False
    ) -> PackedMatrix:
        """Store a matrix, stacked from `parts`, as it is in a GGUF file. The caller checks `can_pack_blocks`."""
        has_one_format = len({matrix.format for matrix in parts}) == 1
        inputs, segments = parts[0].inputs, []
        for matrices in [parts] if has_one_format else [[matrix] for matrix in parts]:
            rows = self.panel_rows(sum(matrix.outputs for matrix in matrices), is_gate_up=is_gate_up)
            chunks = (_unpack_rows(matrices, chunk_rows) for chunk_rows in self._chunks(rows, inputs))
            segments.append(self._integer_segment(GGML_FORMATS[matrices[0].format][0], inputs, len(rows), chunks))
        outputs = sum(matrix.outputs for matrix in parts)
        return self._matrix(segments, bias_O, inputs, self.panel_rows(outputs, is_gate_up=is_gate_up))

    def _chunks(self, rows: NDArray[np.int64], inputs: int) -> Iterator[NDArray[np.int64]]:
        step = max(1, CHUNK_ELEMENTS // (self._panel * inputs)) * self._panel
        return (rows[start : start + step] for start in range(0, len(rows), step))

    def _quantizer(self, weight_format: WeightFormat) -> Callable[[Tensor], IntegerRows]:
        bits = QUANTIZED_BITS[weight_format]

        def quantize(chunk_OI: Tensor) -> IntegerRows:
            padded_OI = nn.functional.pad(chunk_OI, (0, -chunk_OI.shape[1] % self._group))
            integers_OI, scales_OG = quantize_weight(padded_OI, bits, self._group)
            scales = scales_OG.numpy() if bits == 8 else scales_OG.half().view(torch.int16).numpy().view(np.uint16)
            return IntegerRows(integers_OI.numpy(), scales)

        return quantize

    def _matrix(
        self, segments: Sequence[MatrixSegment], bias_O: Tensor | None, inputs: int, rows: NDArray[np.int64]
    ) -> PackedMatrix:
        array = self.retain((MatrixSegment * len(segments))(*segments))
        bias = None
        if bias_O is not None:
            bias = self.address(np.where(rows < 0, np.float32(0), bias_O.detach().float().numpy()[rows]))
        return PackedMatrix(segments=array, bias=bias, num_segments=len(segments), inputs=inputs, outputs=len(rows))

    def _float_segment(
        self, weight_format: WeightFormat, inputs: int, outputs: int, chunks: Iterator[Tensor]
    ) -> MatrixSegment:
        is_float32 = weight_format == WeightFormat.FLOAT32
        panels = self.empty((outputs // self._panel, inputs, self._panel), np.float32 if is_float32 else np.uint16)
        start = 0
        for chunk_OI in chunks:
            floats = self.in_panels(chunk_OI)
            panels[start : start + len(floats)] = floats if is_float32 else floats.view(np.uint32) >> 16
            start += len(floats)
        return MatrixSegment(weights=self.address(panels), format=weight_format, num_panels=len(panels))

    def _integer_segment(
        self, weight_format: WeightFormat, inputs: int, outputs: int, chunks: Iterator[IntegerRows]
    ) -> MatrixSegment:
        """Copy integers and scales to arrays in panels: `(P, words, panel)` and `(P, G, panel)`."""
        num_panels, bits = outputs // self._panel, 4 if weight_format in FOUR_BIT_FORMATS else 8
        padded_inputs = inputs + -inputs % self._group
        words = self.empty((num_panels, padded_inputs * bits // 32, self._panel), np.int32)
        arrays: dict[str, NDArray[np.generic]] = {}
        start = 0
        for chunk in chunks:
            stop = start + len(chunk.integers_OI) // self._panel
            words[start:stop] = self._words(chunk.integers_OI, bits)
            for field in fields(chunk)[1:]:
                values_OG = getattr(chunk, field.name)
                if values_OG is None:
                    continue
                if field.name not in arrays:
                    shape = (num_panels, values_OG.shape[1], self._panel)
                    arrays[field.name] = self.empty(shape, values_OG.dtype.type)
                by_panel = values_OG.reshape(-1, self._panel, values_OG.shape[1])
                arrays[field.name][start:stop] = by_panel.swapaxes(1, 2)
            start = stop
        addresses = {name.rsplit("_", 1)[0]: self.address(array) for name, array in arrays.items()}
        return MatrixSegment(weights=self.address(words), **addresses, format=weight_format, num_panels=num_panels)

    def _words(self, integers_OI: NDArray[np.uint8], bits: int) -> NDArray[np.int32]:
        """Four inputs of an output at a time as a 32-bit word, `(P, words, panel)`.

        With 4 bits, a byte holds a weight in its low half, and the weight four inputs later in its high half.
        """
        words = integers_OI.view(np.int32).reshape(-1, self._panel, integers_OI.shape[1] // 4)
        if bits == 4:
            words = words[..., ::2] | words[..., 1::2] << 4
        return words.swapaxes(1, 2)


def _unpack_rows(parts: Sequence[QuantizedBlocks], rows: NDArray[np.int64]) -> IntegerRows:
    """Rows of a matrix that is stacked from parts in one format; row -1 has scale and minimum 0."""
    blocks_OB = np.zeros((len(rows), parts[0].blocks_OB.shape[1]), np.uint8)
    first_row = 0
    for matrix in parts:
        is_inside = (first_row <= rows) & (rows < first_row + matrix.outputs)
        blocks_OB[is_inside] = matrix.blocks_OB[rows[is_inside] - first_row]
        first_row += matrix.outputs
    return unpack_blocks(parts[0].format, blocks_OB)
