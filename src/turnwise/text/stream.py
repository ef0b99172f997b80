"""Ids back into text while they arrive: no half characters, and no stop string, ever leaves here."""

from collections.abc import Sequence

from turnwise.text.tokenizer import Tokenizer

INCOMPLETE = "\ufffd"  # how a decoder writes bytes that are no character (yet)
MAX_PENDING = 16  # tokens; a character has at most 4 bytes, so after this many it was never going to be one


class StreamDecoder:
    """Turns one id after another into text. The pieces concatenate to the decoding of all ids.

    A token's text may depend on the one before it (leading spaces in SentencePiece), so a short window of earlier ids
    is decoded along and only what is new is handed out.
    """

    def __init__(self, tokenizer: Tokenizer, prefix: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._context = list(prefix[-4:])  # ids whose text is out already
        self._pending: list[int] = []

    def push(self, id: int) -> str:
        """The text that has become certain with this id; empty while a character is incomplete."""
        self._pending.append(id)
        text = self._new_text()
        if text.endswith(INCOMPLETE) and len(self._pending) < MAX_PENDING:
            return ""
        self._settle()
        return text

    def flush(self) -> str:
        """What is left at the end; bytes that never became a character come out as U+FFFD."""
        text = self._new_text() if self._pending else ""
        self._settle()
        return text

    def _new_text(self) -> str:
        before = self._tokenizer.decode(self._context)
        return self._tokenizer.decode(self._context + self._pending)[len(before) :]

    def _settle(self) -> None:
        if self._pending:
            # The window must begin at a character's border, so it is the last settled run of ids as a whole.
            self._context, self._pending = self._pending, []


class StopScanner:
    """Lets text through up to the first stop string, holding back only what might still become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The part of the text so far that no stop string can claim any more."""
        if self.stopped:
            return ""
        self._held += text
        cut = min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=-1)
        if cut >= 0:
            self.stopped = True
            out, self._held = self._held[:cut], ""
            return out
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out

    def flush(self) -> str:
        """What was held back in vain."""
        out, self._held = self._held, ""
        return out


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
