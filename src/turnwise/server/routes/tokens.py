"""`/tokenize` and `/detokenize`: what a text or a conversation is to a model, and back."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StrictStr, WithJsonSchema, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.server import body
from turnwise.server.dialogue import SCHEMA as MESSAGES_SCHEMA
from turnwise.server.dialogue import read_messages
from turnwise.server.openapi import json_body
from turnwise.server.protocol import Strict
from turnwise.server.served import LATEST, Served

MOST_IDS = 1_000_000


class TokenizeRequest(Strict):
    """A text, or messages as the model's chat template lays them out."""

    model: StrictStr = LATEST
    prompt: Annotated[StrictStr | None, Field(description="A text, taken as it is.")] = None
    messages: Annotated[Any, BeforeValidator(lambda said: said and read_messages(said)),
                        WithJsonSchema(MESSAGES_SCHEMA)] = None  # fmt: skip
    add_generation_prompt: Annotated[
        StrictBool, Field(description="End with what opens the assistant's next turn, as for an answer.")
    ] = True

    @model_validator(mode="after")
    def _one(self) -> "TokenizeRequest":
        if (self.prompt is None) == (not self.messages):
            raise InvalidParameter("prompt", "Send either 'prompt' or 'messages'.")
        return self


class Tokens(BaseModel):
    """Ids with the text of each; a token may be a part of a character."""

    model: str
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str]


class DetokenizeRequest(Strict):
    """Ids of a model's tokens."""

    model: StrictStr = LATEST
    tokens: Annotated[list[Annotated[int, Field(strict=True, ge=0)]], Field(max_length=MOST_IDS)]


class Text(BaseModel):
    """What tokens say, special ones included."""

    model: str
    prompt: str


def router(served: Served, limit: int) -> APIRouter:
    """The token routes over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["tokens"])

    @routes.post("/tokenize", openapi_extra=json_body(TokenizeRequest))
    async def tokenize(request: Request) -> Tokens:
        """The ids of a text or a conversation: exactly those that the model would read."""
        asked = await body.read(request, TokenizeRequest, limit)
        service = served.find(asked.model)
        if asked.prompt is not None:
            ids = await run_in_threadpool(service.tokens.of_text, asked.prompt)
        else:
            ids = await run_in_threadpool(service.tokens.of_messages, asked.messages, asked.add_generation_prompt)
        spelled = await run_in_threadpool(service.tokens.spelled, ids)
        return Tokens(
            model=service.name, count=len(ids), max_model_len=service.context_length, tokens=ids, token_strs=spelled
        )

    @routes.post("/detokenize", openapi_extra=json_body(DetokenizeRequest))
    async def detokenize(request: Request) -> Text:
        """The text of ids. Raises for ids that the model does not have."""
        asked = await body.read(request, DetokenizeRequest, limit)
        service = served.find(asked.model)
        return Text(model=service.name, prompt=await run_in_threadpool(service.tokens.text, asked.tokens))

    return routes
