"""Stop strings as a constraint, for searches, which must know during decoding that a sequence is complete.

Other responses are scanned as text (`text/streaming/stop_string_scanner.py`). The constraint compares bytes, so the
tokenization of a stop string does not matter.
"""

from collections.abc import Sequence

from turnwise.text.tokenization.vocabulary import Vocabulary


class StopStringConstraint:
    """Allows all tokens; a sequence is complete after a stop string (the `core.inference.Constraint` port)."""

    def __init__(self, strings: Sequence[str], vocabulary: Vocabulary) -> None:
        self.strings = [string.encode() for string in strings]
        self.vocabulary = vocabulary

    def start(self) -> "StopStringState":
        """The state at the start of a response."""
        return StopStringState(self)


class StopStringState:
    """The last bytes of a response."""

    name, reason = "stop", "It would go past a stop string."

    def __init__(self, stops: StopStringConstraint, tail: bytes = b"", *, is_complete: bool = False) -> None:
        self._stops, self._tail, self.is_complete = stops, tail, is_complete

    def token_mask(self) -> None:
        """None: all tokens are allowed."""

    def accept(self, token: int) -> None:
        """Append a token."""
        text = self._tail + self._stops.vocabulary.output_bytes(token)
        self.is_complete = self.is_complete or any(string in text for string in self._stops.strings)
        self._tail = text[-max(len(string) for string in self._stops.strings) :]

    def fork(self) -> "StopStringState":
        """A copy for a second sequence."""
        return StopStringState(self._stops, self._tail, is_complete=self.is_complete)
