"""`POST /v1/chat/completions`: the next message, whole or as a stream."""

import secrets
import time
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from turnwise.chat.service import ChatDelta, ChatService, Usage
from turnwise.core.errors import InvalidParameter, TurnwiseError, Unavailable
from turnwise.core.ports import FinishReason
from turnwise.server.completion_recorder import CompletionRecorder
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.error_responses import to_client_error
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.schema import request_body as body
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.chat_completion_response import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionHeader,
    ChoiceDelta,
    ChoiceLogprobs,
    ChunkChoice,
    UsageBody,
)
from turnwise.server.schema.context_fields import ContextBody, with_context
from turnwise.server.schema.response_tool_calls import PublishedFinishReason, published_finish_reason
from turnwise.server.served_models import ServedModels
from turnwise.server.sse import DONE_EVENT, EventStreamResponse, PrefetchedStream, format_error_event, format_event


def router(served_models: ServedModels, limit: int) -> APIRouter:
    """The chat routes over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["chat"])

    @routes.post(
        "/v1/chat/completions",
        responses={200: {"model": ChatCompletion, "content": {"text/event-stream": {}}}},
        openapi_extra=json_request_body(ChatCompletionRequest),
    )
    async def create_chat_completion(request: Request) -> Response:
        """The next message of a conversation; with `stream`, as server-sent events that end with `[DONE]`."""
        payload, said = await body.read_with_json(request, ChatCompletionRequest, limit)
        service = served_models.find(payload.model)
        current_request().user = payload.user
        turn = payload.to_chat_request()
        if service.store is None:
            for name, is_requested in (("conversation_id", turn.conversation_id is not None), ("store", payload.store)):
                if is_requested:
                    raise InvalidParameter(
                        name, f"'{name}' is not supported: this server keeps nothing.", code="unsupported_value"
                    )
        head, legacy = _head(service, payload.metadata), payload.tool_config.legacy
        recorder = None
        if payload.store and service.store is not None:
            recorder = CompletionRecorder(service.store.completions, head, said, legacy=legacy)
        try:
            if payload.stream:
                deltas = service.stream(turn)
                if recorder is not None:
                    deltas = recorder.record_stream(deltas, turn.n)
                interval = request.app.state.sse_keep_alive
                started = await PrefetchedStream.start(deltas, interval, request.receive)
                return EventStreamResponse(_events(head, started, payload, legacy=legacy), started, interval)
            reply = await cancel_on_disconnect(request.receive, service.reply(turn))
        except ClientDisconnected:
            return Response(status_code=499)  # nobody reads it
        for answer in reply.choices:
            raise_if_failed(answer.finish_reason)
        if recorder is not None:
            await recorder.keep(reply)
        return JSONResponse(ChatCompletion.of(head, reply, legacy=legacy).dump())

    return routes


def _head(service: ChatService, metadata: dict[str, str] | None) -> ChatCompletionHeader:
    return ChatCompletionHeader(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=service.name,
        system_fingerprint=service.fingerprint,
        metadata=metadata,
    )


def raise_if_failed(finish: FinishReason | None) -> None:
    """Published finish reasons know no failure: a failed answer is an error, not a short answer."""
    if finish == "error":
        raise TurnwiseError("The model failed while it wrote this answer. Sending the request again may help.")
    if finish == "cancelled":
        raise Unavailable("The answer was cancelled: the server is stopping or the model was taken out of service.")


async def _events(
    head: ChatCompletionHeader,
    deltas: PrefetchedStream[ChatDelta],
    payload: ChatCompletionRequest,
    *,
    legacy: bool,
) -> AsyncGenerator[bytes, None]:
    """The stream as published: role, pieces, finish reason, usage where asked for, `[DONE]`; an error may end it."""
    hidden, padded = None if payload.include_usage else {"usage"}, payload.include_obfuscation

    def chunk(
        index: int,
        delta: ChoiceDelta,
        finish: PublishedFinishReason | None = None,
        logprobs: ChoiceLogprobs | None = None,
        context: ContextBody | None = None,
    ) -> bytes:
        piece = ChunkChoice(index=index, delta=delta, finish_reason=finish, logprobs=logprobs)
        content = ChatCompletionChunk(**shared, choices=[piece], context=context).model_dump(exclude=hidden)
        content["choices"][0]["delta"] = delta.model_dump(exclude_none=True)
        return format_event(with_context(content, context), padded=padded)

    shared = head.model_dump()
    usage: Usage | None = None
    context: ContextBody | None = None
    try:
        begun: set[int] = set()
        while (delta := await deltas.next()) is not None:
            if delta.index not in begun:
                begun.add(delta.index)
                only_calls = bool(delta.tool_calls) and not delta.text
                yield chunk(delta.index, ChoiceDelta(role="assistant", content=None if only_calls else ""))
            raise_if_failed(delta.finish_reason)
            if delta.text or delta.logprobs:
                yield chunk(delta.index, ChoiceDelta(content=delta.text), logprobs=ChoiceLogprobs.of(delta.logprobs))
            for piece in delta.tool_calls:
                yield chunk(delta.index, ChoiceDelta.from_tool_call(piece, legacy=legacy))
            usage, context = delta.usage or usage, ContextBody.of(delta.context)
            if delta.finish_reason is not None:
                last = None if payload.include_usage else context  # it is told in the last chunk of all
                yield chunk(
                    delta.index,
                    ChoiceDelta(),
                    published_finish_reason(delta.finish_reason, legacy=legacy),
                    context=last,
                )
    except Exception as error:
        yield format_error_event(to_client_error(error))
        return
    if payload.include_usage and usage is not None:
        content = ChatCompletionChunk(**shared, choices=[], usage=UsageBody.of(usage), context=context).model_dump()
        yield format_event(with_context(content, context), padded=padded)
    yield DONE_EVENT
