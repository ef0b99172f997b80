"""Ids back into text while they arrive: no half characters, and no stop string, ever leaves here."""

import re
from collections.abc import Sequence
from functools import lru_cache

from turnwise.text.tokenization.tokenizer import Tokenizer

INCOMPLETE = "\ufffd"  # how a decoder writes bytes that are no character (yet)
CONTEXT = 4  # ids of the prompt that are decoded along
SETTLE = 16  # ids after which a window that never came to rest is looked through for a place to part it
# A single byte, as SentencePiece vocabularies spell what they do not know. A decoder takes a run of them together.
_BYTE = re.compile("<0x[0-9A-F]{2}>")


class IncrementalDetokenizer:
    """Turns one id after another into text. The pieces concatenate to the decoding of all ids.

    A token's text may depend on the one before it (leading spaces in SentencePiece), so a short window of earlier ids
    is decoded along and only what is new is handed out.
    """

    def __init__(self, tokenizer: Tokenizer, prefix: Sequence[int] = ()) -> None:
        """Begin after `prefix`, ids of the prompt whose text is not to be handed out."""
        self._tokenizer = tokenizer
        begin = max(0, len(prefix) - CONTEXT)
        while 0 < begin < len(prefix) and self._is_byte(prefix[begin]):
            begin -= 1
        self._context = list(prefix[begin:])  # ids that are decoded along
        self._before = len(self._decode(self._context))  # characters of the window that are out already
        self._new: list[int] = []  # ids after the context whose text is not all out
        self._in_bytes = False

    def push(self, id: int) -> str:
        """The text that has become certain with this id; empty while a character is incomplete."""
        self._new.append(id)
        if id not in self._tokenizer.special_ids:  # those are not shown, so bytes before and after one belong together
            self._in_bytes = self._is_byte(id)
        if self._in_bytes:
            return ""  # the next byte may still change what this one means
        text = self._decode(self._context + self._new)
        certain = text.removesuffix(INCOMPLETE)  # one mark at most stands for bytes that may become a character
        piece = certain[self._before :]
        self._before = max(self._before, len(certain))
        if certain == text:
            self._settle(len(self._new))
        elif len(self._new) % SETTLE == 0:
            self._settle_early()
        return piece

    def flush(self) -> str:
        """What is left at the end; bytes that never became a character come out as U+FFFD."""
        piece = self._decode(self._context + self._new)[self._before :] if self._new else ""
        self._before += len(piece)
        self._settle(len(self._new))
        return piece

    def _settle(self, count: int) -> None:
        """Make the first `count` new ids the context; the one before is kept on while they say nothing."""
        context = self._new[:count]
        if said := self._decode(context):
            self._before -= len(self._decode(self._context + context)) - len(said)
            self._context = context
        else:
            self._context = self._context + context
        self._new = self._new[count:]

    def _settle_early(self) -> None:
        """Part the window between two characters that are none, so that it does not grow with every stray byte."""
        whole = self._decode(self._new)
        for count in range(len(self._new) - 1, max(len(self._new) - SETTLE, 0), -1):
            if self._decode(self._new[:count]) + self._decode(self._new[count:]) == whole:
                self._settle(count)
                return

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)

    def _is_byte(self, id: int) -> bool:
        token = self._tokenizer.backend.id_to_token(id)
        return token is not None and _BYTE.fullmatch(token) is not None


class StopStringScanner:
    """Lets text through up to the first stop string, holding back only what might still become one.

    The first stop string is the one that is complete first; of several complete at once the longest counts. How the
    text is cut into chunks makes no difference. The search is that of Knuth, Morris and Pratt (1977), so its work is
    linear in the text whatever the stop strings are.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._searches = [_Search(stop) for stop in stops if stop]
        self._held = ""
        self.has_stopped = False

    def push(self, text: str) -> str:
        """The part of the text so far that no stop string can claim any more."""
        if self.has_stopped:
            return ""
        before = len(self._held)
        self._held += text
        for i, character in enumerate(text, before + 1):
            found = max((search.push(character) for search in self._searches), default=0)
            if found:
                self.has_stopped = True
                out, self._held = self._held[: i - found], ""
                return out
        certain = len(self._held) - max((search.matched for search in self._searches), default=0)
        out, self._held = self._held[:certain], self._held[certain:]
        return out

    def flush(self) -> str:
        """What was held back in vain."""
        out, self._held = self._held, ""
        return out


class _Search:
    """Looks for one string, a character at a time; `matched` characters of it stand at the end of the text so far."""

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self.matched = 0
        self._shorter = _shorter_beginnings(stop)

    def push(self, character: str) -> int:
        """The string's length where this character completes it, else 0."""
        while self.matched and self._stop[self.matched] != character:
            self.matched = self._shorter[self.matched]
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
