"""Incremental detokenization: converts token ids to text as they are generated, in complete characters only."""

import re
from collections.abc import Sequence

from turnwise.text.tokenization.tokenizer import Tokenizer

REPLACEMENT_CHARACTER = "\ufffd"  # a decoder's output for incomplete or invalid UTF-8
NUM_CONTEXT_IDS = 4  # prompt ids that are decoded together with the output
MAX_UNSETTLED_IDS = 16  # number of ids after which an unsettled window is split
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
        start = max(0, len(prefix) - NUM_CONTEXT_IDS)
        while 0 < start < len(prefix) and self._is_byte(prefix[start]):
            start -= 1
        self._context = list(prefix[start:])  # previous ids in the window
        self._num_returned = len(self._decode(self._context))  # characters of the window that were returned
        self._new: list[int] = []  # ids after the context whose text was not returned completely
        self._in_bytes = False

    def push(self, id: int) -> str:
        """Add an id and return the new text; empty while a character is incomplete."""
        self._new.append(id)
        # Special tokens are skipped by the decoder, so it combines the bytes before and after one.
        if id not in self._tokenizer.special_ids:
            self._in_bytes = self._is_byte(id)
        if self._in_bytes:
            return ""  # the next byte may change the character
        text = self._decode(self._context + self._new)
        certain = text.removesuffix(REPLACEMENT_CHARACTER)  # the last U+FFFD may become a character
        piece = certain[self._num_returned :]
        self._num_returned = max(self._num_returned, len(certain))
        if certain == text:
            self._settle(len(self._new))
        elif len(self._new) % MAX_UNSETTLED_IDS == 0:
            self._settle_early()
        return piece

    def flush(self) -> str:
        """The remaining text at the end. Invalid bytes become U+FFFD."""
        piece = self._decode(self._context + self._new)[self._num_returned :] if self._new else ""
        self._num_returned += len(piece)
        self._settle(len(self._new))
        return piece

    def _settle(self, count: int) -> None:
        """Make the first `count` new ids the context. Extend the old context if they decode to nothing."""
        context = self._new[:count]
        if text := self._decode(context):
            self._num_returned -= len(self._decode(self._context + context)) - len(text)
            self._context = context
        else:
            self._context = self._context + context
        self._new = self._new[count:]

    def _settle_early(self) -> None:
        """Split the window between two invalid characters, so that it does not grow with every invalid byte."""
        text = self._decode(self._new)
        for count in range(len(self._new) - 1, max(len(self._new) - MAX_UNSETTLED_IDS, 0), -1):
            if self._decode(self._new[:count]) + self._decode(self._new[count:]) == text:
                self._settle(count)
                return

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)

    def _is_byte(self, id: int) -> bool:
        token = self._tokenizer.backend.id_to_token(id)
        return token is not None and _BYTE.fullmatch(token) is not None
