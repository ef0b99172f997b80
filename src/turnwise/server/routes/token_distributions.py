"""`POST /v1/next_token` and `POST /v1/answer_tokens`: why a model chose its tokens."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatResponse
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import InvalidParameter, UserError
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.error_responses import raise_if_failed
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.route_roles import requires
from turnwise.server.schema.answer_tokens_request import AnswerTokensRequest
from turnwise.server.schema.distribution_bodies import AnswerTokenBody, AnswerTokensResponse, NextTokenResponse
from turnwise.server.schema.next_token_request import NextTokenRequest
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.response_extensions import collect_extensions
from turnwise.server.schema.usage import UsageBody
from turnwise.server.served_models import ServedModels

_FIXED_REPLY = "The interaction format of this model answers here without choosing tokens."


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["tokens"])

    @routes.post(
        "/v1/next_token",
        responses={200: {"model": NextTokenResponse}},
        openapi_extra=json_request_body(NextTokenRequest),
    )
    @requires("user")
    async def next_token(request: Request) -> Response:
        """Return the distribution that a chat completion with the same fields draws its first token from."""
        body = await read_body(request, NextTokenRequest, max_body_bytes)
        current_request().user = body.user
        chat_request = body.to_chat_request()
        service = await served_models.select(body.model, chat_request)
        try:
            response = await _reply(request, service, chat_request)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        if response.distribution is None:
            raise UserError(_FIXED_REPLY)
        content = NextTokenResponse.of(service, current_request().version, response.distribution, response)
        return JSONResponse(content.dump())

    @routes.post(
        "/v1/answer_tokens",
        responses={200: {"model": AnswerTokensResponse}},
        openapi_extra=json_request_body(AnswerTokensRequest),
    )
    @requires("user")
    async def answer_tokens(request: Request) -> Response:
        """Return the tokens of an answer, with the log-probability that the model gives each after those before it."""
        body = await read_body(request, AnswerTokensRequest, max_body_bytes)
        current_request().user = body.user
        chat_request = body.to_chat_request()
        service = await served_models.select(body.model, chat_request)
        if body.answer is not None:
            answer_ids = await run_in_threadpool(_encode_answer, service, body)
            chat_request = replace(chat_request, context=replace(chat_request.context, answer_ids=answer_ids))
        try:
            response = await _reply(request, service, chat_request)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        (choice,) = response.choices
        if not choice.prompt_logprobs:
            raise UserError(_FIXED_REPLY)
        fields = AnswerTokensResponse.fields_of(service, current_request().version)
        return await run_in_threadpool(_answer_tokens_response, fields, body, response)

    return routes


def _answer_tokens_response(fields: dict[str, Any], body: AnswerTokensRequest, response: ChatResponse) -> Response:
    """The tokens as JSON. Runs in a thread: thousands of them with their alternatives take a second."""
    (choice,) = response.choices
    content = AnswerTokensResponse(
        **fields,
        tokens=[AnswerTokenBody.of(logprobs) for logprobs in choice.prompt_logprobs],
        is_encoded_again=body.answer is not None,
        usage=UsageBody.of(response.usage),
        **dict(collect_extensions(response)),
    )
    return JSONResponse(content.dump())


def _encode_answer(service: ChatService, body: AnswerTokensRequest) -> tuple[int, ...]:
    """Token ids of the answer. Runs in a thread."""
    messages = body.messages
    if messages[-1].role == "user":
        messages = messages[-1:]  # enough for the tokens, and within the context
    ids = service.tokens.encode_answer(messages, body.answer or "", service.context_length)
    if not ids:
        raise InvalidParameter("answer", "'answer' has no text for this model.")
    return tuple(ids)


async def _reply(request: Request, service: ChatService, chat_request: ChatRequest) -> ChatResponse:
    """The response. Raises `ClientDisconnected`, and the errors of `ChatService.reply`."""
    response = await cancel_on_disconnect(request.receive, service.reply(chat_request))
    for choice in response.choices:
        raise_if_failed(choice.finish_reason)
    return response
