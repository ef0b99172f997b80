"""What `POST /v1/completions` sends, in the older interface's shapes."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from turnwise.chat.service import DecodedLogprobs, DecodedToken
from turnwise.core.ports import FinishReason
from turnwise.server.schema.chat_completion_response import UsageBody

_CONTINUES = 0b10  # the upper two bits of a byte that goes on with a character


class CompletionLogprobs(BaseModel):
    """Log-probabilities of a text's tokens, list beside list. The first token of a prompt has none."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []
    text_offset: list[int] = []


class LogprobsBuilder:
    """Puts the reports on one text, piece by piece, into the published shape; knows how far the text has come."""

    def __init__(self) -> None:
        self._characters = 0

    def add(self, reports: Sequence[DecodedLogprobs], first: DecodedToken | None = None) -> CompletionLogprobs | None:
        """The next reports; `first` is the prompt's first token, of which there is none. None where there are none."""
        logprobs = CompletionLogprobs()
        if first is not None:
            self._add(logprobs, first, None, None)
        for report in reports:
            top: dict[str, float] = {}
            for likely in report.top:
                top.setdefault(_key(likely), likely.logprob)
            top[_key(report.token)] = report.token.logprob  # always among them, as published
            self._add(logprobs, report.token, report.token.logprob, top)
        return logprobs if logprobs.tokens else None

    def _add(
        self, logprobs: CompletionLogprobs, token: DecodedToken, logprob: float | None, top: dict[str, float] | None
    ) -> None:
        logprobs.tokens.append(_key(token))
        logprobs.token_logprobs.append(logprob)
        logprobs.top_logprobs.append(top)
        logprobs.text_offset.append(self._characters)
        self._characters += sum(byte >> 6 != _CONTINUES for byte in token.bytes)


def _key(token: DecodedToken) -> str:
    """The text of a token; where it is a part of a character, its bytes as in `bytes:\\xf0\\x9f`."""
    try:
        token.bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)
    return token.text


class CompletionChoice(BaseModel):
    """One text, or a piece of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None


class CompletionHeader(BaseModel):
    """What a completion and all chunks of one share."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str


class TextCompletion(CompletionHeader):
    """A whole answer."""

    choices: list[CompletionChoice]
    usage: UsageBody


class CompletionChunk(CompletionHeader):
    """A piece of an answer; the last one carries the usage where it was asked for."""

    choices: list[CompletionChoice]
    usage: UsageBody | None = None
