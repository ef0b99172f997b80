"""Responses and stream chunks of `POST /v1/completions`."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from turnwise.core.chat_response import DecodedLogprobs, DecodedToken
from turnwise.core.inference import FinishReason
from turnwise.server.schema.usage import UsageBody

_CONTINUATION_BYTE = 0b10  # upper two bits of a UTF-8 byte that does not start a character


class CompletionLogprobs(BaseModel):
    """Log-probabilities of the tokens of a text, as parallel lists. The first token of a prompt has none."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []
    text_offset: list[int] = []


class LogprobsBuilder:
    """Converts the log-probabilities of one text, chunk by chunk, and tracks the offset in the text."""

    def __init__(self) -> None:
        self._num_characters = 0

    def add(self, logprobs: Sequence[DecodedLogprobs], first: DecodedToken | None = None) -> CompletionLogprobs | None:
        """Convert the next log-probabilities; None if there are none.

        Args:
            logprobs: log-probabilities of the chat service.
            first: first token of the prompt, which has no log-probability.
        """
        body = CompletionLogprobs()
        if first is not None:
            self._add(body, first, None, None)
        for position in logprobs:
            top: dict[str, float] = {}
            for token in position.top:
                top.setdefault(_token_text(token), token.logprob)
            top[_token_text(position.token)] = position.token.logprob  # as published, the token itself is included
            self._add(body, position.token, position.token.logprob, top)
        return body if body.tokens else None

    def _add(
        self, body: CompletionLogprobs, token: DecodedToken, logprob: float | None, top: dict[str, float] | None
    ) -> None:
        body.tokens.append(_token_text(token))
        body.token_logprobs.append(logprob)
        body.top_logprobs.append(top)
        body.text_offset.append(self._num_characters)
        self._num_characters += sum(byte >> 6 != _CONTINUATION_BYTE for byte in token.bytes)


def _token_text(token: DecodedToken) -> str:
    """The text of a token. For a part of a character its bytes, as in `bytes:\\xf0\\x9f`."""
    try:
        token.bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)
    return token.text


class CompletionChoice(BaseModel):
    """A text, or a chunk of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None


class CompletionHeader(BaseModel):
    """Fields that a completion and all of its chunks share."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str


class TextCompletion(CompletionHeader):
    """A text completion."""

    choices: list[CompletionChoice]
    usage: UsageBody


class CompletionChunk(CompletionHeader):
    """A stream chunk. The last one has `usage` if `include_usage` is set."""

    choices: list[CompletionChoice]
    usage: UsageBody | None = None
