"""Reads the header of a GGUF file: metadata and the descriptions of the tensors. Does not import torch.

The `gguf` package has a reader too, but it takes 4 to 15 seconds for 50,000 to 150,000 tokens, and it trusts the
lengths and counts in the file. This one checks each of them against the bytes that remain before it allocates or loops.
The sizes of the block formats come from the package.

Format: magic, version, number of tensors, number of metadata entries, the entries (key, type, value), the tensor
descriptions (name, dimensions, type, offset), padding, the data. All numbers are little-endian.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gguf.constants import GGML_QUANT_SIZES

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.models.gguf.header import (
    ARRAY,
    BOOL,
    LENGTH,
    SCALARS,
    STRING,
    UINT32,
    UINT64,
    GgufArray,
    GgufHeader,
    GgufTensor,
)

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 256 * 2**20  # the header of a vocabulary of 256,000 tokens takes 16 MB
MAX_TEXT_BYTES = 4 * 2**20  # of a text outside of lists; the longest is the chat template
MAX_KEYS = 10_000
MAX_TENSORS = 100_000
MAX_NAME_BYTES = 2**16 - 1  # limit of the format
MAX_TENSOR_NAME_BYTES = 64  # limit of the format
MAX_DIMENSIONS = 4  # limit of ggml
MAX_ALIGNMENT = 2**20
DEFAULT_ALIGNMENT = 32
READ_BYTES = 2**20  # per system call
MIN_ENTRY_BYTES, MIN_TENSOR_BYTES = 8 + 4 + 1, 8 + 4 + 8 + 4 + 8

STRUCTS = {type_id: struct.Struct(f"<{code}") for type_id, code in SCALARS.items()}
TENSOR_TYPES = {int(ggml_type): (ggml_type.name, *sizes) for ggml_type, sizes in GGML_QUANT_SIZES.items()}


def is_gguf(path: Path) -> bool:
    """True if a regular file begins with the magic of the format. Raises `UserError` if it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_header(path: Path) -> GgufHeader:
    """Read the header of one file, in chunks of 1 MiB. At most one chunk of the data behind it is read.

    Raises:
        UserError: the file cannot be read, is damaged, or is of another version or byte order.
    """
    try:
        with path.open("rb") as file:
            return _Parser(path, file).parse()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged: {error}.") from error


class _Parser:
    """Parses a header from a buffer that grows with the position. Raises `ValueError` with the fault."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._size = path.stat().st_size
        self._buffer = bytearray()
        self._position = 0

    def parse(self) -> GgufHeader:
        self._check_version()
        num_tensors = self._count("tensors", MIN_TENSOR_BYTES, MAX_TENSORS)
        num_keys = self._count("metadata entries", MIN_ENTRY_BYTES, MAX_KEYS)
        metadata: dict[str, Any] = {}
        for _ in range(num_keys):
            key = self._text("a key", MAX_NAME_BYTES)
            if key in metadata:
                raise ValueError(f"its key {preview(key)} occurs twice")
            metadata[key] = self._value(key, self._number(UINT32))
        descriptions: dict[str, tuple[int, tuple[int, ...], int]] = {}
        for _ in range(num_tensors):
            name = self._text("the name of a tensor", MAX_TENSOR_NAME_BYTES)
            if name in descriptions:
                raise ValueError(f"its tensor {preview(name)} occurs twice")
            descriptions[name] = self._tensor_description(name)
        return GgufHeader(self._path, metadata, self._place_tensors(descriptions, self._alignment(metadata)))

    def _check_version(self) -> None:
        if self._take(4, "its magic") != MAGIC:
            raise UserError(f"{self._path} is not a GGUF file: it does not begin with 'GGUF'.")
        version = self._number(UINT32)
        if version & 0xFFFF == 0 and version:  # a small number in the other byte order
            raise UserError(f"{self._path} is a big-endian GGUF file; only little-endian ones are supported.")
        if version not in VERSIONS:
            raise UserError(f"{self._path} is a GGUF file of version {version}; versions 2 and 3 are supported.")

    def _require(self, num_bytes: int, what: str) -> None:
        """Make `num_bytes` more bytes available in the buffer."""
        end = self._position + num_bytes
        if end > self._size:
            raise ValueError(f"{what} lies beyond its end")
        if end > MAX_HEADER_BYTES:
            raise ValueError(f"its header has more than {MAX_HEADER_BYTES:,} bytes")
        while len(self._buffer) < end:
            chunk = self._file.read(max(min(READ_BYTES, self._size - len(self._buffer)), 1))
            if not chunk:
                raise ValueError("it is truncated")
            self._buffer += chunk

    def _take(self, num_bytes: int, what: str) -> bytes:
        self._require(num_bytes, what)
        start, self._position = self._position, self._position + num_bytes
        return bytes(memoryview(self._buffer)[start : self._position])

    def _number(self, type_id: int) -> Any:
        number = STRUCTS[type_id]
        return number.unpack(self._take(number.size, "a number"))[0]

    def _count(self, noun: str, min_bytes: int, limit: int) -> int:
        """A number of entries that take at least `min_bytes` each."""
        (count,) = LENGTH.unpack(self._take(8, f"the number of {noun}"))
        if count > limit:
            raise ValueError(f"it has {count:,} {noun}; at most {limit:,} are read")
        if count * min_bytes > self._size - self._position:
            raise ValueError(f"{count:,} {noun} do not fit into it")
        return int(count)

    def _text(self, what: str, limit: int) -> str:
        (length,) = LENGTH.unpack(self._take(8, f"the length of {what}"))
        if length > limit:
            raise ValueError(f"{what} has {length:,} bytes; at most {limit:,} are read")
        try:
            return self._take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{what} is not UTF-8") from error

    def _value(self, key: str, type_id: int) -> Any:
        if type_id == STRING:
            return self._text(f"the value of {preview(key)}", MAX_TEXT_BYTES)
        if type_id == ARRAY:
            return self._array(key)
        if type_id not in SCALARS:
            raise ValueError(f"the value of {preview(key)} has the unknown type {type_id}")
        value = self._number(type_id)
        return bool(value) if type_id == BOOL else value

    def _array(self, key: str) -> GgufArray:
        item_type = self._number(UINT32)
        if item_type != STRING and item_type not in SCALARS:
            kind = "an array of arrays" if item_type == ARRAY else f"an array of the unknown type {item_type}"
            raise ValueError(f"the value of {preview(key)} is {kind}")
        item_size = 8 if item_type == STRING else STRUCTS[item_type].size
        count = self._count(f"values of {preview(key)}", item_size, MAX_HEADER_BYTES)
        start = self._position
        if item_type == STRING:
            self._skip_strings(count, f"a value of {preview(key)}")
        else:
            self._require(count * item_size, f"the value of {preview(key)}")
            self._position += count * item_size
        return GgufArray(item_type, count, self._buffer, start, self._position)

    def _skip_strings(self, count: int, what: str) -> None:
        """Move behind `count` strings; a vocabulary and its merges have hundreds of thousands."""
        unpack, position = LENGTH.unpack_from, self._position
        for _ in range(count):
            if position + 8 > len(self._buffer):
                self._position = position
                self._require(8, what)
            position += 8 + unpack(self._buffer, position)[0]
            if position > len(self._buffer):
                self._require(position - self._position, what)
        self._position = position

    def _tensor_description(self, name: str) -> tuple[int, tuple[int, ...], int]:
        """Type, shape and offset in the data."""
        num_dimensions = self._number(UINT32)
        if not 1 <= num_dimensions <= MAX_DIMENSIONS:
            raise ValueError(f"its tensor {preview(name)} has {num_dimensions:,} dimensions, not 1 to {MAX_DIMENSIONS}")
        shape = struct.unpack(f"<{num_dimensions}Q", self._take(8 * num_dimensions, f"the shape of {preview(name)}"))
        type_id = self._number(UINT32)
        return type_id, shape[::-1], self._number(UINT64)

    def _alignment(self, metadata: Mapping[str, Any]) -> int:
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        is_power_of_two = type(alignment) is int and alignment > 0 and alignment & (alignment - 1) == 0
        if not is_power_of_two or not 8 <= alignment <= MAX_ALIGNMENT:
            raise ValueError(f"its alignment, {preview(alignment)}, is not a power of two from 8 to {MAX_ALIGNMENT:,}")
        return int(alignment)

    def _place_tensors(
        self, descriptions: Mapping[str, tuple[int, tuple[int, ...], int]], alignment: int
    ) -> dict[str, GgufTensor]:
        """Check types, sizes and offsets; tensors may not overlap."""
        data_start = -(-self._position // alignment) * alignment
        tensors = {}
        for name, (type_id, shape, offset) in descriptions.items():
            if type_id not in TENSOR_TYPES:
                raise ValueError(f"its tensor {preview(name)} has the unknown type {type_id}")
            type_name, block_size, block_bytes = TENSOR_TYPES[type_id]
            if 0 in shape:
                raise ValueError(f"its tensor {preview(name)} has no elements")
            if shape[-1] % block_size:
                raise ValueError(f"its tensor {preview(name)} has rows of {shape[-1]:,}, which {type_name} cannot hold")
            if offset % alignment:
                raise ValueError(f"the offset of its tensor {preview(name)} is not a multiple of {alignment}")
            start, num_bytes = data_start + offset, math.prod(shape) // block_size * block_bytes
            if start + num_bytes > self._size:
                raise ValueError(f"its tensor {preview(name)} lies beyond its end")
            tensors[name] = GgufTensor(self._path, type_name, shape, start, num_bytes)
        end, previous = 0, ""
        for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
            if tensor.start < end:
                raise ValueError(f"its tensors {preview(previous)} and {preview(name)} overlap")
            end, previous = tensor.start + tensor.num_bytes, name
        return tensors
