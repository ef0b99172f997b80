"""Where an answer ends because of what it says, as a constraint on tokens.

A search over whole answers has to know while it searches; a single answer is looked through as it goes out
(`text/streaming/detokenizer.py`). Compared are bytes, so it does not matter how a stop string is cut into tokens.
"""

from collections.abc import Sequence

from turnwise.text.tokenization.vocabulary import Vocabulary


class StopStringConstraint:
    """The strings (the `core.ports.Constraint` port): everything may be said, and with one of them all is said."""

    def __init__(self, strings: Sequence[str], vocabulary: Vocabulary) -> None:
        self.strings = [string.encode() for string in strings]
        self.vocabulary = vocabulary

    def start(self) -> "StopStringState":
        """At the beginning of an answer."""
        return StopStringState(self)


class StopStringState:
    """The end of an answer, as far as it matters."""

    def __init__(self, stops: StopStringConstraint, tail: bytes = b"", *, is_complete: bool = False) -> None:
        self._stops, self._tail, self.is_complete = stops, tail, is_complete

    def token_mask(self) -> None:
        """Everything."""

    def accept(self, token: int) -> None:
        """One token further."""
        said = self._tail + self._stops.vocabulary.output_bytes(token)
        self.is_complete = self.is_complete or any(string in said for string in self._stops.strings)
        self._tail = said[-max(len(string) for string in self._stops.strings) :]

    def fork(self) -> "StopStringState":
        """Another that has seen the same."""
        return StopStringState(self._stops, self._tail, is_complete=self.is_complete)
