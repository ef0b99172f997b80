"""What `POST /v1/completions` sends, in the older interface's shapes."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from turnwise.chat.service import Likely, TokenReport
from turnwise.core.ports import FinishReason
from turnwise.server.schema.chat_completion_response import UsageBody

_CONTINUES = 0b10  # the upper two bits of a byte that goes on with a character


class TextLogprobs(BaseModel):
    """Log-probabilities of a text's tokens, list beside list. The first token of a prompt has none."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []
    text_offset: list[int] = []


class TextReports:
    """Puts the reports on one text, piece by piece, into the published shape; knows how far the text has come."""

    def __init__(self) -> None:
        self._characters = 0

    def add(self, reports: Sequence[TokenReport], first: Likely | None = None) -> TextLogprobs | None:
        """The next reports; `first` is the prompt's first token, of which there is none. None where there are none."""
        found = TextLogprobs()
        if first is not None:
            self._add(found, first, None, None)
        for report in reports:
            top: dict[str, float] = {}
            for likely in report.top:
                top.setdefault(_key(likely), likely.logprob)
            top[_key(report.chosen)] = report.chosen.logprob  # always among them, as published
            self._add(found, report.chosen, report.chosen.logprob, top)
        return found if found.tokens else None

    def _add(self, found: TextLogprobs, token: Likely, logprob: float | None, top: dict[str, float] | None) -> None:
        found.tokens.append(_key(token))
        found.token_logprobs.append(logprob)
        found.top_logprobs.append(top)
        found.text_offset.append(self._characters)
        self._characters += sum(byte >> 6 != _CONTINUES for byte in token.bytes)


def _key(token: Likely) -> str:
    """The text of a token; where it is a part of a character, its bytes as in `bytes:\\xf0\\x9f`."""
    try:
        token.bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)
    return token.text


class TextChoice(BaseModel):
    """One text, or a piece of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: FinishReason | None


class TextHead(BaseModel):
    """What a completion and all chunks of one share."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str


class TextCompletion(TextHead):
    """A whole answer."""

    choices: list[TextChoice]
    usage: UsageBody


class TextChunk(TextHead):
    """A piece of an answer; the last one carries the usage where it was asked for."""

    choices: list[TextChoice]
    usage: UsageBody | None = None
