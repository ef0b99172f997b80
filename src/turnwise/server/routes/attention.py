"""`POST /v1/attention`: which tokens of the context a layer and a head of the model attend to."""

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from turnwise.core.attention import AttentionWeights
from turnwise.core.chat_service import ChatService
from turnwise.core.served_versions import AnsweringVersion
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.route_roles import requires
from turnwise.server.schema.attention_bodies import AttentionRequest, AttentionResponse
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["tokens"])

    @routes.post(
        "/v1/attention",
        responses={200: {"model": AttentionResponse}},
        openapi_extra=json_request_body(AttentionRequest),
    )
    @requires("user")
    async def attention(request: Request) -> Response:
        """Return the weights that the last token of the prompt, or of `answer_tokens`, gives the context."""
        body = await read_body(request, AttentionRequest, max_body_bytes)
        current_request().user = body.user
        chat_request = body.to_chat_request()
        service = await served_models.select(body.model, chat_request)
        try:
            weights = await cancel_on_disconnect(request.receive, service.attention(chat_request, body.query))
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return await run_in_threadpool(_response, service, current_request().version, weights)

    return routes


def _response(service: ChatService, version: AnsweringVersion | None, weights: AttentionWeights) -> Response:
    return JSONResponse(AttentionResponse.of(service, version, weights).dump())
