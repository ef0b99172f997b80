"""`POST /v1/embeddings`: texts as vectors."""

import base64
import struct
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, Field, StrictStr, WithJsonSchema

from turnwise.core.errors import InvalidParameter
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.merge_streams import gather_bounded
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.schema import request_body as body
from turnwise.server.schema.chat_completion_request import RequestBody
from turnwise.server.schema.completion_request import MAX_PROMPTS, prompt_list_schema, read_prompt_list
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.served_models import ServedModels

INPUT_SCHEMA = prompt_list_schema(
    f"A text or its token ids, or a list of up to {MAX_PROMPTS} of either.", {"type": "string", "minLength": 1}
)


class EmbeddingRequest(RequestBody):
    """Texts, or their token ids, to turn into vectors."""

    input: Annotated[Any, BeforeValidator(lambda value: read_prompt_list(value, "input")), WithJsonSchema(INPUT_SCHEMA)]
    model: Annotated[StrictStr, Field(description="A served model, or 'latest' or 'stable'.")]
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Field(description="Numbers, or little-endian float32 as base64.")
    ] = None
    dimensions: Annotated[
        int | None,
        Field(strict=True, ge=1, description="Only the size that the model has: it was not taught to be cut."),
    ] = None
    user: Annotated[StrictStr | None, Field(max_length=MAX_IDENTIFIER_CHARS, description="Noted in the log.")] = None


class EmbeddingBody(BaseModel):
    """One text's vector, of length 1."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(BaseModel):
    """A vector for every input, in its order."""

    object: Literal["list"] = "list"
    data: list[EmbeddingBody]
    model: str
    usage: EmbeddingUsage


def router(served_models: ServedModels, limit: int) -> APIRouter:
    """The route over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["embeddings"])

    @routes.post(
        "/v1/embeddings", responses={200: {"model": Embeddings}}, openapi_extra=json_request_body(EmbeddingRequest)
    )
    async def create_embeddings(request: Request) -> Response:
        """The last hidden state of each text's last token, scaled to length 1."""
        payload = await body.read(request, EmbeddingRequest, limit)
        service = served_models.find(payload.model)
        current_request().user = payload.user
        try:
            embeddings = await cancel_on_disconnect(
                request.receive, gather_bounded([service.embed(one) for one in payload.input])
            )
        except ClientDisconnected:
            return Response(status_code=499)  # nobody reads it
        size = len(embeddings[0][0])
        if payload.dimensions not in (None, size):
            raise InvalidParameter(
                "dimensions", f"'dimensions' can only be {size} with the model '{service.name}'.",
                code="unsupported_value",
            )  # fmt: skip
        as_text = payload.encoding_format == "base64"
        data = [
            EmbeddingBody(index=index, embedding=_packed(vector) if as_text else list(vector))
            for index, (vector, _) in enumerate(embeddings)
        ]
        read = sum(usage.prompt_tokens for _, usage in embeddings)
        usage = EmbeddingUsage(prompt_tokens=read, total_tokens=read)
        response = Embeddings(data=data, model=service.name, usage=usage)
        return Response(response.model_dump_json(), media_type="application/json")

    return routes


def _packed(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
