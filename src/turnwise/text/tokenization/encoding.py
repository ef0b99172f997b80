"""Results of tokenization: ids with character offsets, and the error for texts with too many tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import tokenizers


class TooManyTokens(Exception):
    """A text has more tokens than the caller allows.

    Attributes:
        count: number of tokens, or a lower bound of it.
        is_exact: False if `count` is a lower bound.
    """

    def __init__(self, count: int, *, is_exact: bool) -> None:
        super().__init__(f"{count} tokens")
        self.count, self.is_exact = count, is_exact


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids, and for each id the characters `[start, end)` of the text that it encodes."""

    ids: list[int]
    offsets: Sequence[tuple[int, int]]


class LazyOffsets(Sequence[tuple[int, int]]):
    """Offsets that are read from the backend on access. Converting a million pairs would hold the GIL for a second."""

    def __init__(self, encoding: tokenizers.Encoding) -> None:
        self._encoding = encoding

    def __len__(self) -> int:
        return len(self._encoding)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(index)
        span: tuple[int, int] | None = self._encoding.token_to_chars(position)
        assert span is not None, "the index was checked"
        return span
