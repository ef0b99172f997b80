"""Encodes the events of one streamed response."""

import itertools

from turnwise.core.errors import TurnwiseError
from turnwise.server.responses.response_builder import ResponseBuilder, ResponseEvent
from turnwise.server.sse import format_event


class EventEncoder:
    """Numbers and encodes the events of one stream.

    Attributes:
        is_ended: whether the last event has been sent.
    """

    def __init__(self, builder: ResponseBuilder, *, is_padded: bool) -> None:
        """Encode the events of `builder`; with `is_padded`, delta events are padded with random letters."""
        self._builder, self._is_padded = builder, is_padded
        self._sequence_numbers = itertools.count()
        self.is_ended = False

    def encode(self, event: ResponseEvent) -> bytes:
        """Encode the next event of the stream."""
        name = event["type"]
        numbered = {"type": name, "sequence_number": next(self._sequence_numbers)} | event
        return format_event(numbered, padded=self._is_padded and name.endswith(".delta"), name=name)

    def encode_failure(self, error: TurnwiseError) -> bytes:
        """Encode the events that end the stream with `error`; nothing after the last event."""
        return b"" if self.is_ended else b"".join(map(self.encode, self._builder.fail(error)))
