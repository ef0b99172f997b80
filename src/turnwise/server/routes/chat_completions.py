"""`POST /v1/chat/completions`: chat completions, complete or streamed."""

import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta, Usage
from turnwise.core.chat_service import ChatService
from turnwise.core.errors import InvalidParameter
from turnwise.server.background_answers import BackgroundAnswers
from turnwise.server.completion_recorder import CompletionRecorder
from turnwise.server.conversation_titles import TitleWriter
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.error_responses import raise_if_failed, to_client_error
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.route_roles import requires
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.chat_completion_response import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionHeader,
    ChoiceDelta,
    ChunkChoice,
)
from turnwise.server.schema.chat_logprobs import ChoiceLogprobs
from turnwise.server.schema.request_body import read_body_with_json
from turnwise.server.schema.response_extensions import ResponseExtensions, collect_extensions
from turnwise.server.schema.response_tool_calls import PublishedFinishReason, published_finish_reason
from turnwise.server.schema.usage import UsageBody
from turnwise.server.served_models import ServedModels
from turnwise.server.sse import DONE_EVENT, EventStreamResponse, PrefetchedStream, format_error_event, format_event


def router(
    served_models: ServedModels, max_body_bytes: int, background: BackgroundAnswers, titles: TitleWriter
) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["chat"])

    @routes.post(
        "/v1/chat/completions",
        responses={200: {"model": ChatCompletion, "content": {"text/event-stream": {}}}},
        openapi_extra=json_request_body(ChatCompletionRequest),
    )
    @requires("user")
    async def create_chat_completion(request: Request) -> Response:
        """Generate the next message; with `stream`, as server-sent events that end with `[DONE]`."""
        body, content = await read_body_with_json(request, ChatCompletionRequest, max_body_bytes)
        current_request().user = body.user
        chat_request = body.to_chat_request()
        service = await served_models.select(body.model, chat_request)
        _check_store(service, body, chat_request)
        header, legacy = _header(service, body.metadata), body.tool_config.legacy
        recorder = None
        if body.store and service.store is not None:
            consent = served_models.consent_policy.of_request(body.collect)
            recorder = CompletionRecorder(
                service.store.completions, header, content, legacy=legacy, user=chat_request.user, consent=consent
            )
        try:
            if body.stream:
                if body.background:
                    chat_request = replace(chat_request, generation_id=secrets.token_hex(12))
                deltas = service.stream(chat_request)
                if recorder is not None:
                    deltas = recorder.record_stream(deltas, chat_request.output.n)
                deltas = titles.follow(deltas, served_models, body.model, chat_request)

                def encode(stream: PrefetchedStream[ChatDelta]) -> AsyncGenerator[bytes, None]:
                    return _ChunkEncoder(header, body).events(stream)

                if body.background and service.store is not None:
                    deltas = background.start(chat_request, deltas, encode, service.store).deltas()
                keep_alive = request.app.state.sse_keep_alive
                stream = await PrefetchedStream.start(deltas, keep_alive, request.receive)
                return EventStreamResponse(encode(stream), stream, keep_alive)
            response = await cancel_on_disconnect(request.receive, service.reply(chat_request))
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        for choice in response.choices:
            raise_if_failed(choice.finish_reason)
        if recorder is not None:
            await recorder.record(response)
        titles.start(served_models, body.model, chat_request, response.choices[0].text)

        def body_response() -> Response:
            return JSONResponse(ChatCompletion.of(header, response, legacy=legacy).dump())

        # Thousands of hypotheses take most of a second.
        return body_response() if response.beams is None else await run_in_threadpool(body_response)

    return routes


def _check_store(service: ChatService, body: ChatCompletionRequest, chat_request: ChatRequest) -> None:
    """Raise `InvalidParameter` if the request needs a store and there is none."""
    if service.store is not None:
        return
    for name, is_set in (("conversation_id", chat_request.conversation_id is not None), ("store", body.store)):
        if is_set:
            message = f"'{name}' is not supported: this server stores nothing."
            raise InvalidParameter(name, message, code="unsupported_value")


def _header(service: ChatService, metadata: dict[str, str] | None) -> ChatCompletionHeader:
    return ChatCompletionHeader(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=service.name,
        system_fingerprint=service.fingerprint,
        metadata=metadata,
    )


class _ChunkEncoder:
    """Encodes the deltas of the chat service as chunks."""

    def __init__(self, header: ChatCompletionHeader, body: ChatCompletionRequest) -> None:
        self._shared = header.model_dump()
        self._include_usage, self._is_padded = body.include_usage, body.include_obfuscation
        self._legacy = body.tool_config.legacy
        self._started: set[int] = set()  # indexes of the choices that have sent their role
        self._usage: Usage | None = None
        self._extensions = ResponseExtensions()

    async def events(self, deltas: PrefetchedStream[ChatDelta]) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of every choice, the usage if it is included, and `[DONE]`; or an error event at the end."""
        try:
            while (delta := await deltas.next()) is not None:
                events = self._encode(delta)
                for event in events if delta.beams is None else await run_in_threadpool(list, events):
                    yield event
        except Exception as error:
            yield format_error_event(to_client_error(error))
            return
        if self._include_usage and self._usage is not None:
            yield await run_in_threadpool(self._usage_chunk, self._usage)
        yield DONE_EVENT

    def _encode(self, delta: ChatDelta) -> Iterator[bytes]:
        """Encode one delta: role, text, tool calls, finish reason."""
        if delta.index not in self._started:
            self._started.add(delta.index)
            has_only_calls = bool(delta.tool_calls) and not delta.text
            yield self._chunk(delta.index, ChoiceDelta(role="assistant", content=None if has_only_calls else ""))
        raise_if_failed(delta.finish_reason)
        if delta.text or delta.logprobs:
            logprobs = ChoiceLogprobs.of(delta.logprobs)
            yield self._chunk(delta.index, ChoiceDelta(content=delta.text), logprobs=logprobs)
        for call in delta.tool_calls:
            yield self._chunk(delta.index, ChoiceDelta.from_tool_call(call, legacy=self._legacy))
        self._usage, self._extensions = delta.usage or self._usage, collect_extensions(delta)
        if delta.finish_reason is not None:
            # With `include_usage`, the extensions are in the last chunk, which has the usage.
            extensions = ResponseExtensions() if self._include_usage else self._extensions
            finish_reason = published_finish_reason(delta.finish_reason, legacy=self._legacy)
            yield self._chunk(delta.index, ChoiceDelta(), finish_reason, extensions=extensions)

    def _chunk(
        self,
        index: int,
        delta: ChoiceDelta,
        finish_reason: PublishedFinishReason | None = None,
        logprobs: ChoiceLogprobs | None = None,
        extensions: ResponseExtensions = ResponseExtensions(),
    ) -> bytes:
        choice = ChunkChoice(index=index, delta=delta, finish_reason=finish_reason, logprobs=logprobs)
        content = ChatCompletionChunk(**self._shared, choices=[choice], **dict(extensions)).dump()
        if not self._include_usage:
            del content["usage"]
        return format_event(content, padded=self._is_padded)

    def _usage_chunk(self, usage: Usage) -> bytes:
        chunk = ChatCompletionChunk(**self._shared, choices=[], usage=UsageBody.of(usage), **dict(self._extensions))
        return format_event(chunk.dump(), padded=self._is_padded)
