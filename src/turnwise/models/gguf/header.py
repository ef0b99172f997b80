"""What the header of a GGUF file says: metadata and the descriptions of the tensors. Does not import torch."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UINT32, BOOL, STRING, ARRAY, UINT64 = 4, 7, 8, 9, 10  # types of values
# Codes of `struct` for the other types.
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    UINT32: "I",
    5: "i",
    6: "f",
    BOOL: "B",
    UINT64: "Q",
    11: "q",
    12: "d",
}  # for struct
LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array of the metadata, decoded on request: the tokens of a large vocabulary are rarely needed.

    Attributes:
        item_type: type of the elements.
        count: number of elements.
        header: bytes of the header.
        start: offset of the first element in `header`.
        stop: offset behind the last element.
    """

    item_type: int
    count: int
    header: bytearray = field(repr=False)
    start: int
    stop: int

    @property
    def is_text(self) -> bool:
        """True if the elements are strings."""
        return self.item_type == STRING

    def decode(self) -> list[Any]:
        """The elements. Raises `ValueError` if a string is not UTF-8."""
        content = bytes(memoryview(self.header)[self.start : self.stop])
        if not self.is_text:
            return list(struct.unpack(f"<{self.count}{SCALARS[self.item_type]}", content))
        unpack, offset, strings = LENGTH.unpack_from, 0, []
        for _ in range(self.count):
            stop = offset + 8 + unpack(content, offset)[0]
            strings.append(content[offset + 8 : stop].decode("utf-8"))
            offset = stop
        return strings


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where and how a tensor is stored.

    Attributes:
        path: the file, one of several if the model is split.
        type_name: format of the elements, such as "F32" or "Q4_K".
        shape: outermost dimension first, as in numpy; the format stores it in reverse.
        start: offset of the first byte in the file.
        num_bytes: size.
    """

    path: Path
    type_name: str
    shape: tuple[int, ...]
    start: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The header of a GGUF file, or of all files of a split model.

    Attributes:
        path: the (first) file.
        metadata: values by key.
        tensors: descriptions by name.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]
