"""Bodies of `POST /tokenize` and `POST /detokenize`."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, FailFast, Field, StrictBool, StrictStr, WithJsonSchema, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.server.schema.chat_messages import MESSAGES_SCHEMA, read_messages
from turnwise.server.schema.common_fields import RequestBody
from turnwise.server.served_models import LATEST

MAX_TOKEN_IDS = 1_000_000


class TokenizeRequest(RequestBody):
    """A text, or messages that the model's chat template renders."""

    model: StrictStr = LATEST
    prompt: Annotated[StrictStr | None, Field(description="A text; no chat template is applied.")] = None
    messages: Annotated[
        Any, BeforeValidator(lambda value: value and read_messages(value)), WithJsonSchema(MESSAGES_SCHEMA)
    ] = None
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
