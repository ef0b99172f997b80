"""`POST /v1/embeddings`."""

import base64
import struct

from fastapi import APIRouter, Request, Response

from turnwise.core.errors import InvalidParameter
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.merge_streams import gather_bounded
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.schema.embedding_bodies import EmbeddingBody, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage
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
    async def create_embeddings(request: Request) -> Response:
        """Embed texts: the last hidden state of the last token of each, normalized to length 1."""
        body = await read_body(request, EmbeddingRequest, max_body_bytes)
        service = served_models.find(body.model)
        current_request().user = body.user
        work = gather_bounded([service.embed(prompt) for prompt in body.input])
        try:
            results = await cancel_on_disconnect(request.receive, work)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        dimension = len(results[0][0])
        if body.dimensions not in (None, dimension):
            message = f"'dimensions' can only be {dimension} with the model '{service.name}'."
            raise InvalidParameter("dimensions", message, code="unsupported_value")
        encode = _encode_base64 if body.encoding_format == "base64" else list
        data = [EmbeddingBody(index=i, embedding=encode(vector)) for i, (vector, _) in enumerate(results)]
        num_tokens = sum(usage.prompt_tokens for _, usage in results)
        usage = EmbeddingUsage(prompt_tokens=num_tokens, total_tokens=num_tokens)
        response = EmbeddingResponse(data=data, model=service.name, usage=usage)
        return Response(response.model_dump_json(), media_type="application/json")

    return routes


def _encode_base64(vector: tuple[float, ...]) -> str:
    """Little-endian float32 values as base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
