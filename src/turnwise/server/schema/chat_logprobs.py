"""Log-probabilities in chat completions."""

from collections.abc import Sequence

from pydantic import BaseModel

from turnwise.core.chat_response import DecodedLogprobs, DecodedToken


class ChatTopLogprob(BaseModel):
    """A token with its log-probability. A token may be a part of a character; special tokens have no `bytes`."""

    token: str
    logprob: float
    bytes: list[int] | None

    @classmethod
    def of(cls, token: DecodedToken) -> "ChatTopLogprob":
        """Convert a token of the chat service."""
        return cls(token=token.text, logprob=token.logprob, bytes=list(token.bytes) or None)


class ChatTokenLogprob(ChatTopLogprob):
    """The sampled token, and the most likely tokens at its position."""

    top_logprobs: list[ChatTopLogprob]


class ChoiceLogprobs(BaseModel):
    """Log-probabilities of the tokens of a choice, or of a chunk."""

    content: list[ChatTokenLogprob]
    refusal: None = None

    @classmethod
    def of(cls, logprobs: Sequence[DecodedLogprobs]) -> "ChoiceLogprobs | None":
        """Convert log-probabilities of the chat service; None if there are none."""
        content = [
            ChatTokenLogprob(
                **ChatTopLogprob.of(position.token).model_dump(),
                top_logprobs=[ChatTopLogprob.of(token) for token in position.top],
            )
            for position in logprobs
        ]
        return cls(content=content) if content else None
