"""Incremental detokenization and stop strings: emits complete characters only, and never a stop string."""

import re
from collections.abc import Sequence
from functools import lru_cache

from turnwise.text.tokenization.tokenizer import Tokenizer

INCOMPLETE = "\ufffd"  # a decoder's output for incomplete or invalid UTF-8
CONTEXT = 4  # prompt ids that are decoded together with the output
SETTLE = 16  # number of ids after which an unsettled window is split
# A byte token of a SentencePiece vocabulary. A decoder combines consecutive byte tokens.
_BYTE = re.compile("<0x[0-9A-F]{2}>")


class IncrementalDetokenizer:
    """Converts token ids to text, one at a time. The outputs concatenate to the decoding of all ids.

    The text of a token may depend on the previous one (leading spaces in SentencePiece), so a short window of previous
    ids is decoded again and only the new characters are returned.
    """

    def __init__(self, tokenizer: Tokenizer, prefix: Sequence[int] = ()) -> None:
        """Start after `prefix`, prompt ids whose text is not returned."""
        self._tokenizer = tokenizer
        begin = max(0, len(prefix) - CONTEXT)
        while 0 < begin < len(prefix) and self._is_byte(prefix[begin]):
            begin -= 1
        self._context = list(prefix[begin:])  # previous ids in the window
        self._before = len(self._decode(self._context))  # characters of the window that were returned
        self._new: list[int] = []  # ids after the context whose text was not returned completely
        self._in_bytes = False

    def push(self, id: int) -> str:
        """Add an id and return the new text; empty while a character is incomplete."""
        self._new.append(id)
        if (
            id not in self._tokenizer.special_ids
        ):  # special tokens are skipped, so bytes before and after one are combined
            self._in_bytes = self._is_byte(id)
        if self._in_bytes:
            return ""  # the next byte may change the character
        text = self._decode(self._context + self._new)
        certain = text.removesuffix(INCOMPLETE)  # the last U+FFFD may become a character
        piece = certain[self._before :]
        self._before = max(self._before, len(certain))
        if certain == text:
            self._settle(len(self._new))
        elif len(self._new) % SETTLE == 0:
            self._settle_early()
        return piece

    def flush(self) -> str:
        """The remaining text at the end. Invalid bytes become U+FFFD."""
        piece = self._decode(self._context + self._new)[self._before :] if self._new else ""
        self._before += len(piece)
        self._settle(len(self._new))
        return piece

    def _settle(self, count: int) -> None:
        """Make the first `count` new ids the context. Extend the old context if they decode to nothing."""
        context = self._new[:count]
        if text := self._decode(context):
            self._before -= len(self._decode(self._context + context)) - len(text)
            self._context = context
        else:
            self._context = self._context + context
        self._new = self._new[count:]

    def _settle_early(self) -> None:
        """Split the window between two invalid characters, so that it does not grow with every invalid byte."""
        text = self._decode(self._new)
        for count in range(len(self._new) - 1, max(len(self._new) - SETTLE, 0), -1):
            if self._decode(self._new[:count]) + self._decode(self._new[count:]) == text:
                self._settle(count)
                return

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)

    def _is_byte(self, id: int) -> bool:
        token = self._tokenizer.backend.id_to_token(id)
        return token is not None and _BYTE.fullmatch(token) is not None


class StopStringScanner:
    """Returns text up to the first stop string. Buffers only text that may become a stop string.

    The first stop string is the one that is complete first; if several are complete at the same character, the longest
    one. The result does not depend on the chunks of the text. Uses Knuth-Morris-Pratt search (1977), in linear time.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._searches = [_Search(stop) for stop in stops if stop]
        self._buffer = ""
        self.has_stopped = False

    def push(self, text: str) -> str:
        """Add text and return the text that cannot be part of a stop string."""
        if self.has_stopped:
            return ""
        before = len(self._buffer)
        self._buffer += text
        for i, character in enumerate(text, before + 1):
            matched = max((search.push(character) for search in self._searches), default=0)
            if matched:
                self.has_stopped = True
                out, self._buffer = self._buffer[: i - matched], ""
                return out
        certain = len(self._buffer) - max((search.matched for search in self._searches), default=0)
        out, self._buffer = self._buffer[:certain], self._buffer[certain:]
        return out

    def flush(self) -> str:
        """The buffered text at the end."""
        out, self._buffer = self._buffer, ""
        return out


class _Search:
    """Searches for one string. The text so far ends with its first `matched` characters."""

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self.matched = 0
        self._failure = _shorter_beginnings(stop)

    def push(self, character: str) -> int:
        """The length of the string if the character completes it, else 0."""
        while self.matched and self._stop[self.matched] != character:
            self.matched = self._failure[self.matched]
        self.matched += self._stop[self.matched] == character
        return len(self._stop) if self.matched == len(self._stop) else 0


@lru_cache(maxsize=64)
def _shorter_beginnings(stop: str) -> Sequence[int]:
    """For each beginning of the string: the longest shorter beginning that it ends in. All answers share the table."""
    shorter, length = [0] * (len(stop) + 1), 0
    for i in range(1, len(stop)):
        while length and stop[i] != stop[length]:
            length = shorter[length]
        length += stop[i] == stop[length]
        shorter[i + 1] = length
    return shorter
