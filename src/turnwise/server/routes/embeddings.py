"""`POST /v1/embeddings`."""

import asyncio
import base64
import struct
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from turnwise.core.embedding_service import EmbeddingRequest as ServiceRequest
from turnwise.core.embedding_service import EmbeddingResult
from turnwise.core.errors import InvalidParameter
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.route_roles import requires
from turnwise.server.schema.embedding_bodies import EmbeddingBody, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage
from turnwise.server.schema.list_json import dump_with_data
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["embeddings"])

    @routes.post(
        "/v1/embeddings",
        responses={200: {"model": EmbeddingResponse}},
        openapi_extra=json_request_body(EmbeddingRequest),
    )
    @requires("user")
    async def create_embeddings(request: Request) -> Response:
        """Embed texts with an embedding model, or with a chat model: the last hidden state of the last token.

        Vectors have length 1.
        """
        body = await read_body(request, EmbeddingRequest, max_body_bytes)
        service = served_models.find_embedding_service(body.model)
        current_request().user = body.user
        if service.dimension is not None:
            _check_dimension(body.dimensions, service.dimension, service.name)
        work = service.embed(ServiceRequest(body.input, body.input_type, body.truncate_prompt_tokens))
        try:
            result = await cancel_on_disconnect(request.receive, work)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        _check_dimension(body.dimensions, len(result.vectors[0]), service.name)
        # Thousands of vectors take a large part of a second to encode, in which streams of other requests would stop.
        text = await asyncio.to_thread(_response_json, service.name, result, body.encoding_format)
        return Response(text, media_type="application/json")

    return routes


def _check_dimension(requested: int | None, dimension: int, name: str) -> None:
    if requested not in (None, dimension):
        message = f"'dimensions' can only be {dimension} with the model '{name}'."
        raise InvalidParameter("dimensions", message, code="unsupported_value")


def _response_json(name: str, result: EmbeddingResult, encoding_format: str | None) -> str:
    """The JSON of an `EmbeddingResponse`."""
    encode = _encode_base64 if encoding_format == "base64" else list
    bodies = (EmbeddingBody(index=i, embedding=encode(vector)) for i, vector in enumerate(result.vectors))
    usage = EmbeddingUsage(
        prompt_tokens=result.prompt_tokens,
        total_tokens=result.prompt_tokens,
        truncated_inputs=list(result.truncated) or None,
    )
    return dump_with_data(EmbeddingResponse(data=[], model=name, usage=usage), bodies)


def _encode_base64(vector: Sequence[float]) -> str:
    """Little-endian float32 values as base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
