"""`POST /v1/chat/completions`: the next message, whole or as a stream."""

import secrets
import time
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from turnwise.chat.service import ChatService, Delta, Usage
from turnwise.core.errors import InvalidParameter, TurnwiseError, Unavailable
from turnwise.core.ports import FinishReason
from turnwise.server.schema import request_body as body
from turnwise.server.schema.chat_completion_response import Chunk, Completion, Head, Logprobs, Piece, PieceDelta, UsageBody
from turnwise.server.schema.response_tool_calls import Finish, finish_of
from turnwise.server.schema.context_fields import ContextBody, with_context
from turnwise.server.error_responses import explained
from turnwise.server.request_context import current
from turnwise.server.completion_recorder import Keeping
from turnwise.server.disconnect import ClientGone, unless_gone
from turnwise.server.openapi import json_request_body
from turnwise.server.schema.chat_completion_request import CompletionRequest
from turnwise.server.served_models import Served
from turnwise.server.sse import DONE, EventStream, StartedStream, error_event, event


def router(served: Served, limit: int) -> APIRouter:
    """The chat routes over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["chat"])

    @routes.post(
        "/v1/chat/completions",
        responses={200: {"model": Completion, "content": {"text/event-stream": {}}}},
        openapi_extra=json_request_body(CompletionRequest),
    )
    async def create_chat_completion(request: Request) -> Response:
        """The next message of a conversation; with `stream`, as server-sent events that end with `[DONE]`."""
        asked, said = await body.read_both(request, CompletionRequest, limit)
        service = served.find(asked.model)
        current().user = asked.user
        turn = asked.to_chat_request()
        if service.store is None:
            for name, wanted in (("conversation_id", turn.conversation_id is not None), ("store", asked.store)):
                if wanted:
                    raise InvalidParameter(
                        name, f"'{name}' is not supported: this server keeps nothing.", code="unsupported_value"
                    )
        head, legacy = _head(service, asked.metadata), asked.offer.legacy
        keeping = None
        if asked.store and service.store is not None:
            keeping = Keeping(service.store.completions, head, said, legacy=legacy)
        try:
            if asked.stream:
                deltas = service.stream(turn)
                if keeping is not None:
                    deltas = keeping.watched(deltas, turn.n)
                interval = request.app.state.sse_keep_alive
                started = await StartedStream.start(deltas, interval, request.receive)
                return EventStream(_events(head, started, asked, legacy=legacy), started, interval)
            reply = await unless_gone(request.receive, service.reply(turn))
        except ClientGone:
            return Response(status_code=499)  # nobody reads it
        for answer in reply.choices:
            raise_if_broken(answer.finish)
        if keeping is not None:
            await keeping.keep(reply)
        return JSONResponse(Completion.of(head, reply, legacy=legacy).dump())

    return routes


def _head(service: ChatService, metadata: dict[str, str] | None) -> Head:
    return Head(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=service.name,
        system_fingerprint=service.fingerprint,
        metadata=metadata,
    )


def raise_if_broken(finish: FinishReason | None) -> None:
    """Published finish reasons know no failure: a failed answer is an error, not a short answer."""
    if finish == "error":
        raise TurnwiseError("The model failed while it wrote this answer. Sending the request again may help.")
    if finish == "cancelled":
        raise Unavailable("The answer was cancelled: the server is stopping or the model was taken out of service.")


async def _events(
    head: Head,
    deltas: StartedStream[Delta],
    asked: CompletionRequest,
    *,
    legacy: bool,
) -> AsyncGenerator[bytes, None]:
    """The stream as published: role, pieces, finish reason, usage where asked for, `[DONE]`; an error may end it."""
    hidden, padded = None if asked.include_usage else {"usage"}, asked.obfuscated

    def chunk(
        index: int,
        delta: PieceDelta,
        finish: Finish | None = None,
        logprobs: Logprobs | None = None,
        context: ContextBody | None = None,
    ) -> bytes:
        piece = Piece(index=index, delta=delta, finish_reason=finish, logprobs=logprobs)
        content = Chunk(**shared, choices=[piece], context=context).model_dump(exclude=hidden)
        content["choices"][0]["delta"] = delta.model_dump(exclude_none=True)
        return event(with_context(content, context), padded=padded)

    shared = head.model_dump()
    usage: Usage | None = None
    context: ContextBody | None = None
    try:
        begun: set[int] = set()
        while (delta := await deltas.next()) is not None:
            if delta.index not in begun:
                begun.add(delta.index)
                only_calls = bool(delta.tool_calls) and not delta.text
                yield chunk(delta.index, PieceDelta(role="assistant", content=None if only_calls else ""))
            raise_if_broken(delta.finish)
            if delta.text or delta.logprobs:
                yield chunk(delta.index, PieceDelta(content=delta.text), logprobs=Logprobs.of(delta.logprobs))
            for piece in delta.tool_calls:
                yield chunk(delta.index, PieceDelta.calling(piece, legacy=legacy))
            usage, context = delta.usage or usage, ContextBody.of(delta.context)
            if delta.finish is not None:
                last = None if asked.include_usage else context  # it is told in the last chunk of all
                yield chunk(delta.index, PieceDelta(), finish_of(delta.finish, legacy=legacy), context=last)
    except Exception as error:
        yield error_event(explained(error))
        return
    if asked.include_usage and usage is not None:
        content = Chunk(**shared, choices=[], usage=UsageBody.of(usage), context=context).model_dump()
        yield event(with_context(content, context), padded=padded)
    yield DONE
