"""Unpacks blocks of ggml into integers, scales and minimums for the compiled library, without rounding.

Every function takes blocks `(O, N, bytes)`: outputs, blocks of a row, bytes of a block. The layouts of the formats:
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h (structures) and ggml-quants.c (`dequantize_row_*`).

Shapes: O outputs, N blocks of a row, I inputs, G groups of 32 inputs, S super-blocks of 256 inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.engine.native.structs import WeightFormat

Blocks = NDArray[Any]  # uint8; mypy takes the results of shifts for signed integers

BLOCK_BYTES = {
    "Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34, "Q4_K": 144, "Q5_K": 176, "Q6_K": 210,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class IntegerRows:
    """Rows of a matrix as the library stores them (`structs.hpp`), before they are arranged in panels.

    Attributes:
        integers_OI: unsigned integers.
        scales_OG: float16 bits or bytes of scales; float32 `(O, 1)` if the format has one scale per output.
        minimums_OG: float16 bits or bytes of minimums, or None.
        super_scales_OS: float16 bits, or None.
        super_minimums_OS: float16 bits, or None.
    """

    integers_OI: NDArray[np.uint8]
    scales_OG: NDArray[np.generic]
    minimums_OG: NDArray[np.generic] | None = None
    super_scales_OS: NDArray[np.uint16] | None = None
    super_minimums_OS: NDArray[np.uint16] | None = None


def unpack_blocks(name: str, blocks_OB: Blocks) -> IntegerRows:
    """Unpack rows of a format in `GGML_FORMATS`.

    Args:
        name: name of the format.
        blocks_OB: bytes of the rows.
    """
    outputs = len(blocks_OB)
    return GGML_FORMATS[name][1](blocks_OB.reshape(outputs, -1, BLOCK_BYTES[name]))


def _half(blocks_ONB: Blocks, offset: int) -> NDArray[np.uint16]:
    """A float16 of every block, as bits `(O, N)`."""
    return np.ascontiguousarray(blocks_ONB[..., offset : offset + 2]).view(np.uint16)[..., 0]


def _nibbles(bytes_ONB: Blocks) -> Blocks:
    """All low halves of a block's bytes, then all high halves."""
    return np.concatenate([bytes_ONB & 15, bytes_ONB >> 4], axis=-1)


def _rows(integers: Blocks) -> Blocks:
    return np.ascontiguousarray(integers).reshape(len(integers), -1)


def _unpack_q4_0(blocks_ONB: Blocks) -> IntegerRows:
    return IntegerRows(_rows(_nibbles(blocks_ONB[..., 2:])), _half(blocks_ONB, 0))


def _unpack_q4_1(blocks_ONB: Blocks) -> IntegerRows:
    return IntegerRows(_rows(_nibbles(blocks_ONB[..., 4:])), _half(blocks_ONB, 0), _half(blocks_ONB, 2))


def _fifth_bits(bits_ON4: Blocks) -> Blocks:
    """Bit i of a 32-bit number per block, as the fifth bit of integer i."""
    return np.unpackbits(bits_ON4, axis=-1, bitorder="little") << 4


def _unpack_q5_0(blocks_ONB: Blocks) -> IntegerRows:
    integers = _nibbles(blocks_ONB[..., 6:]) | _fifth_bits(blocks_ONB[..., 2:6])
    return IntegerRows(_rows(integers + (128 - 16)), _half(blocks_ONB, 0))


def _unpack_q5_1(blocks_ONB: Blocks) -> IntegerRows:
    integers = _nibbles(blocks_ONB[..., 8:]) | _fifth_bits(blocks_ONB[..., 4:8])
    return IntegerRows(_rows(integers), _half(blocks_ONB, 0), _half(blocks_ONB, 2))


def _unpack_q8_0(blocks_ONB: Blocks) -> IntegerRows:
    return IntegerRows(_rows(blocks_ONB[..., 2:] ^ 128), _half(blocks_ONB, 0))  # ^ 128: adds 128 to a signed byte


def _six_bit_scales(packed_ON12: Blocks) -> tuple[Blocks, Blocks]:
    """Scales and minimums `(O, N, 8)` of the groups of a super-block: 16 numbers of 6 bits in 12 bytes."""
    low, middle, high = (packed_ON12[..., start : start + 4] for start in (0, 4, 8))
    scales = np.concatenate([low & 63, (high & 15) | (low >> 6 << 4)], axis=-1)
    minimums = np.concatenate([middle & 63, (high >> 4) | (middle >> 6 << 4)], axis=-1)
    return scales, minimums


def _super_rows(blocks_ONB: Blocks, integers: Blocks) -> IntegerRows:
    scales, minimums = _six_bit_scales(blocks_ONB[..., 4:16])
    return IntegerRows(_rows(integers), _rows(scales), _rows(minimums), _half(blocks_ONB, 0), _half(blocks_ONB, 2))


def _unpack_q4_k(blocks_ONB: Blocks) -> IntegerRows:
    # 32 bytes hold two groups: one in their low halves, the next in their high halves.
    bytes_ON4B = blocks_ONB[..., 16:].reshape(*blocks_ONB.shape[:2], 4, 32)
    return _super_rows(blocks_ONB, _nibbles(bytes_ON4B))


def _unpack_q5_k(blocks_ONB: Blocks) -> IntegerRows:
    bytes_ON4B = blocks_ONB[..., 48:].reshape(*blocks_ONB.shape[:2], 4, 32)
    # Bit g of byte i is the fifth bit of input i of group g.
    fifth_bits_ON8I = (blocks_ONB[..., None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1) << 4
    integers_ON8I = _nibbles(bytes_ON4B).reshape(fifth_bits_ON8I.shape) | fifth_bits_ON8I
    return _super_rows(blocks_ONB, integers_ON8I)


def _unpack_q6_k(blocks_ONB: Blocks) -> IntegerRows:
    shape = blocks_ONB.shape[:2]
    # Each half of 128 inputs: 64 bytes with the low 4 bits, 32 bytes with the high 2 bits of four inputs each.
    low_ON2 = _nibbles(blocks_ONB[..., :128].reshape(*shape, 2, 64))
    high_ON2 = blocks_ONB[..., 128:192].reshape(*shape, 2, 1, 32) >> np.array([[0], [2], [4], [6]], dtype=np.uint8) & 3
    integers = low_ON2 | high_ON2.reshape(*shape, 2, 128) << 4
    return IntegerRows(
        _rows(integers + (128 - 32)), _rows(blocks_ONB[..., 192:208]), None, _half(blocks_ONB, 208), None
    )


GGML_FORMATS: dict[str, tuple[WeightFormat, Callable[[Blocks], IntegerRows]]] = {
    "Q4_0": (WeightFormat.INT4_GROUP, _unpack_q4_0),
    "Q4_1": (WeightFormat.INT4_GROUP_MIN, _unpack_q4_1),
    "Q5_0": (WeightFormat.INT8_GROUP, _unpack_q5_0),
    "Q5_1": (WeightFormat.INT8_GROUP_MIN, _unpack_q5_1),
    "Q8_0": (WeightFormat.INT8_GROUP, _unpack_q8_0),
    "Q4_K": (WeightFormat.INT4_SUPER_BLOCK, _unpack_q4_k),
    "Q5_K": (WeightFormat.INT8_SUPER_BLOCK, _unpack_q5_k),
    "Q6_K": (WeightFormat.INT8_HALF_SUPER_BLOCK, _unpack_q6_k),
}
