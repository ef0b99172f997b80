"""Bodies of `POST /tokenize` and `POST /detokenize`."""

from typing import Annotated, Any

from pydantic import BaseModel, FailFast, Field, StrictBool, StrictStr, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Message
from turnwise.server.schema.chat_messages import MESSAGES_SCHEMA, read_messages
from turnwise.server.schema.request_field import Reader, RequestBody
from turnwise.server.served_models import LATEST

MAX_TOKEN_IDS = 1_000_000


def _read_messages(value: Any) -> tuple[Message, ...] | None:
    """The messages; None for null and for an empty list, as if the field were absent."""
    return read_messages(value) if value else None


class TokenizeRequest(RequestBody):
    """A text, or messages that the model's chat template renders."""

    model: StrictStr = LATEST
    prompt: Annotated[StrictStr | None, Field(description="A text; no chat template is applied.")] = None
    messages: Annotated[tuple[Message, ...] | None, Reader(_read_messages, MESSAGES_SCHEMA)] = None
    add_generation_prompt: Annotated[
        StrictBool, Field(description="End with the start of the assistant's message, as for an answer.")
    ] = True

    @model_validator(mode="after")
    def _check_exactly_one(self) -> "TokenizeRequest":
        if (self.prompt is None) == (not self.messages):
            raise InvalidParameter("prompt", "Send either 'prompt' or 'messages'.")
        return self


class TokenizeResponse(BaseModel):
    """Token ids, and the text of each token; a token may be a part of a character."""

    model: str
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str]


class DetokenizeRequest(RequestBody):
    """Token ids."""

    model: StrictStr = LATEST
    tokens: Annotated[list[Annotated[int, Field(strict=True, ge=0)]], FailFast(), Field(max_length=MAX_TOKEN_IDS)]


class DetokenizeResponse(BaseModel):
    """The text of token ids, special tokens included."""

    model: str
    prompt: str
