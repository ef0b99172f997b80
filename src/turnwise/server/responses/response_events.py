"""The events of one streamed response: numbered and encoded."""

import itertools

from turnwise.core.errors import TurnwiseError
from turnwise.server.responses.response_builder import ResponseBuilder, ResponseEvent
from turnwise.server.sse import format_event


class EventEncoder:
    """Encodes the events of one stream.

    Attributes:
        is_ended: whether its last event has been sent.
    """

    def __init__(self, builder: ResponseBuilder, *, include_obfuscation: bool) -> None:
        """Encode the events of `builder`; with `is_padded`, delta events are filled up with random letters."""
        self._builder, self._is_padded = builder, include_obfuscation
        self._numbers = itertools.count()
        self.is_ended = False

    def encode(self, content: ResponseEvent) -> bytes:
        """The next event of the stream."""
        name = content["type"]
        numbered = {"type": name, "sequence_number": next(self._numbers)} | content
        return format_event(numbered, padded=self._is_padded and name.endswith(".delta"), name=name)

    def encode_failure(self, error: TurnwiseError) -> bytes:
        """The events that end the stream with `error`; none after its last event."""
        return b"" if self.is_ended else b"".join(map(self.encode, self._builder.fail(error)))
