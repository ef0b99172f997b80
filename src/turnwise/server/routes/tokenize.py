"""`/tokenize` and `/detokenize`: what a text or a conversation is to a model, and back."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, BeforeValidator, FailFast, Field, StrictBool, StrictStr, WithJsonSchema, model_validator

from turnwise.chat.service import ChatService
from turnwise.core.errors import InvalidParameter
from turnwise.server.openapi import json_request_body
from turnwise.server.schema import request_body as body
from turnwise.server.schema.chat_completion_request import RequestBody
from turnwise.server.schema.chat_messages import SCHEMA as MESSAGES_SCHEMA
from turnwise.server.schema.chat_messages import read_messages
from turnwise.server.served_models import LATEST, ServedModels

MAX_TOKEN_IDS = 1_000_000
IDS_PER_STEP = 10_000  # ids that are written at a time


class TokenizeRequest(RequestBody):
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


class TokenizeResponse(BaseModel):
    """Ids with the text of each; a token may be a part of a character."""

    model: str
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str]


class DetokenizeRequest(RequestBody):
    """Ids of a model's tokens."""

    model: StrictStr = LATEST
    tokens: Annotated[list[Annotated[int, Field(strict=True, ge=0)]], FailFast(), Field(max_length=MAX_TOKEN_IDS)]


class DetokenizeResponse(BaseModel):
    """What tokens say, special ones included."""

    model: str
    prompt: str


def router(served_models: ServedModels, limit: int) -> APIRouter:
    """The token routes over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["tokens"])

    @routes.post(
        "/tokenize", responses={200: {"model": TokenizeResponse}}, openapi_extra=json_request_body(TokenizeRequest)
    )
    async def tokenize(request: Request) -> Response:
        """The ids of a text or a conversation: exactly those that the model would read."""
        payload = await body.read(request, TokenizeRequest, limit)
        service = served_models.find(payload.model)
        return Response(await run_in_threadpool(_tokens, service, payload), media_type="application/json")

    @routes.post("/detokenize", openapi_extra=json_request_body(DetokenizeRequest))
    async def detokenize(request: Request) -> DetokenizeResponse:
        """The text of ids. Raises for ids that the model does not have."""
        payload = await body.read(request, DetokenizeRequest, limit)
        service = served_models.find(payload.model)
        return DetokenizeResponse(
            model=service.name, prompt=await run_in_threadpool(service.tokens.decode, payload.tokens)
        )

    return routes


def _tokens(service: ChatService, request: TokenizeRequest) -> bytes:
    """The answer to `request` as JSON. Runs in a thread, and in steps: lists of a million entries hold up streams."""
    if request.prompt is not None:
        ids = service.tokens.encode_text(request.prompt, MAX_TOKEN_IDS)
    else:
        ids = service.tokens.encode_messages(request.messages, request.add_generation_prompt, MAX_TOKEN_IDS)
    head = {"model": service.name, "count": len(ids), "max_model_len": service.context_length}
    parts = [json.dumps(head)[:-1], ', "tokens": [', *_listed(ids), '], "token_strs": [']
    parts += [*_listed(service.tokens.token_texts(ids)), "]}"]
    return "".join(parts).encode()


def _listed(values: Sequence[int] | Sequence[str]) -> Iterator[str]:
    """The entries of a JSON list."""
    for start in range(0, len(values), IDS_PER_STEP):
        yield ("" if start == 0 else ", ") + json.dumps(values[start : start + IDS_PER_STEP], ensure_ascii=False)[1:-1]
