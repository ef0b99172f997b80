"""Where an answer ends because of what it says, as a constraint on tokens.

A search over whole answers has to know while it searches; a single answer is looked through as it goes out
(`text/streaming/detokenizer.py`). Compared are bytes, so it does not matter how a stop string is cut into tokens.
"""

from collections.abc import Sequence

from turnwise.text.tokenization.vocabulary import Vocabulary


class StopStrings:
    """The strings (the `core.ports.Constraint` port): everything may be said, and with one of them all is said."""

    def __init__(self, strings: Sequence[str], vocabulary: Vocabulary) -> None:
        self.strings = [string.encode() for string in strings]
        self.vocabulary = vocabulary

    def start(self) -> "StopStringsState":
        """At the beginning of an answer."""
        return StopStringsState(self)


class StopStringsState:
    """The end of an answer, as far as it matters."""

    def __init__(self, stops: StopStrings, tail: bytes = b"", *, complete: bool = False) -> None:
        self._stops, self._tail, self.complete = stops, tail, complete

    def allowed(self) -> None:
        """Everything."""

    def accept(self, token: int) -> None:
        """One token further."""
        said = self._tail + self._stops.vocabulary.shown(token)
        self.complete = self.complete or any(string in said for string in self._stops.strings)
        self._tail = said[-max(len(string) for string in self._stops.strings) :]

    def fork(self) -> "StopStringsState":
        """Another that has seen the same."""
        return StopStringsState(self._stops, self._tail, complete=self.complete)
