"""`POST /tokenize` and `POST /detokenize`."""

import json
from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from turnwise.core.chat_service import ChatService
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.token_bodies import (
    MAX_TOKEN_IDS,
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from turnwise.server.served_models import ServedModels

IDS_PER_STEP = 10_000  # encoded at a time, because the JSON encoder holds the interpreter lock


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["tokens"])

    @routes.post(
        "/tokenize", responses={200: {"model": TokenizeResponse}}, openapi_extra=json_request_body(TokenizeRequest)
    )
    @requires("user")
    async def tokenize(request: Request) -> Response:
        """Return the token ids of a text or of messages: exactly those that the model would read."""
        body = await read_body(request, TokenizeRequest, max_body_bytes)
        service = served_models.find(body.model)
        return Response(await run_in_threadpool(_tokenize, service, body), media_type="application/json")

    @routes.post("/detokenize", openapi_extra=json_request_body(DetokenizeRequest))
    @requires("user")
    async def detokenize(request: Request) -> DetokenizeResponse:
        """Return the text of token ids."""
        body = await read_body(request, DetokenizeRequest, max_body_bytes)
        service = served_models.find(body.model)
        return DetokenizeResponse(
            model=service.name, prompt=await run_in_threadpool(service.tokens.decode, body.tokens)
        )

    return routes


def _tokenize(service: ChatService, body: TokenizeRequest) -> bytes:
    """The response as JSON. Runs in a thread."""
    if body.prompt is not None:
        ids = service.tokens.encode_text(body.prompt, MAX_TOKEN_IDS)
    else:
        ids = service.tokens.encode_messages(body.messages or (), body.add_generation_prompt, MAX_TOKEN_IDS)
    head = {"model": service.name, "count": len(ids), "max_model_len": service.context_length}
    pieces = [json.dumps(head)[:-1], ', "tokens": [', *_json_entries(ids), '], "token_strs": [']
    pieces += [*_json_entries(service.tokens.token_texts(ids)), "]}"]
    return "".join(pieces).encode()


def _json_entries(values: Sequence[int] | Sequence[str]) -> Iterator[str]:
    """The entries of a JSON list, without the brackets."""
    for start in range(0, len(values), IDS_PER_STEP):
        entries = json.dumps(values[start : start + IDS_PER_STEP], ensure_ascii=False)[1:-1]
        yield ("" if start == 0 else ", ") + entries
