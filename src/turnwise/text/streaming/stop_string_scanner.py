"""Stop strings in streamed text: returns the text before the first stop string."""

from collections.abc import Sequence
from functools import lru_cache


class StopStringScanner:
    """Returns text up to the first stop string. Buffers only text that may become a stop string.

    The first stop string is the one that is complete first; if several are complete at the same character, the longest
    one. The result does not depend on the chunks of the text. Uses Knuth-Morris-Pratt search (1977), in linear time.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._searches = [_StopStringSearch(stop) for stop in stops if stop]
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


class _StopStringSearch:
    """Searches for one string. The text so far ends with its first `matched` characters."""

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self.matched = 0
        self._failure = _failure_table(stop)

    def push(self, character: str) -> int:
        """The length of the string if the character completes it, else 0."""
        while self.matched and self._stop[self.matched] != character:
            self.matched = self._failure[self.matched]
        self.matched += self._stop[self.matched] == character
        return len(self._stop) if self.matched == len(self._stop) else 0


@lru_cache(maxsize=64)
def _failure_table(stop: str) -> Sequence[int]:
    """For each prefix length, the length of its longest proper prefix that is also its suffix (Knuth-Morris-Pratt).

    Cached, since all choices of a request have the same stop strings.
    """
    table, length = [0] * (len(stop) + 1), 0
    for i in range(1, len(stop)):
        while length and stop[i] != stop[length]:
            length = table[length]
        length += stop[i] == stop[length]
        table[i + 1] = length
    return table
