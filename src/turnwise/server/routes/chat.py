"""`POST /v1/chat/completions`: the next message, whole or as a stream."""

import secrets
import time
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from turnwise.chat.service import ChatService, Delta, Usage
from turnwise.core.errors import InvalidParameter, TurnwiseError, Unavailable
from turnwise.core.ports import FinishReason
from turnwise.server import body
from turnwise.server.answers import AnswerMessage, Choice, Chunk, Completion, Head, Piece, PieceDelta, UsageBody
from turnwise.server.errors import error_body, log_mistake, unexpected
from turnwise.server.leaving import ClientGone, unless_gone
from turnwise.server.openapi import json_body
from turnwise.server.protocol import CompletionRequest
from turnwise.server.served import Served
from turnwise.server.sse import DONE, EventStream, event


def router(served: Served, limit: int) -> APIRouter:
    """The chat routes over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["chat"])

    @routes.post(
        "/v1/chat/completions",
        responses={200: {"model": Completion, "content": {"text/event-stream": {}}}},
        openapi_extra=json_body(CompletionRequest),
    )
    async def create_chat_completion(request: Request) -> Response:
        """The next message of a conversation; with `stream`, as server-sent events that end with `[DONE]`."""
        asked = await body.read(request, CompletionRequest, limit)
        service = served.find(asked.model)
        turn = asked.turn()
        if turn.conversation_id is not None and service.store is None:
            raise InvalidParameter(
                "conversation_id", "'conversation_id' is not supported: this server keeps no conversations.",
                code="unsupported_value",
            )  # fmt: skip
        head = _head(service)
        try:
            if asked.stream:
                deltas = service.stream(turn)
                first = await unless_gone(request.receive, _first(deltas))
                return EventStream(_events(head, first, deltas, include_usage=asked.include_usage), deltas)
            reply = await unless_gone(request.receive, service.reply(turn))
        except ClientGone:
            return Response(status_code=499)  # nobody reads it
        _raise_if_broken(reply.finish)
        choice = Choice(message=AnswerMessage(content=reply.text), finish_reason=reply.finish)
        whole = Completion(**head.model_dump(), choices=[choice], usage=UsageBody.of(reply.usage))
        return JSONResponse(whole.model_dump())

    return routes


def _head(service: ChatService) -> Head:
    return Head(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=service.name,
        system_fingerprint=service.fingerprint,
    )


async def _first(deltas: AsyncGenerator[Delta, None]) -> Delta:
    """The first delta is awaited before the answer begins, so that an error still gets its own status."""
    try:
        return await anext(deltas)
    except StopAsyncIteration:
        raise RuntimeError("the chat service ended a stream before its first delta") from None
    except BaseException:
        await deltas.aclose()
        raise


def _raise_if_broken(finish: FinishReason | None) -> None:
    """Published finish reasons know no failure: a failed answer is an error, not a short answer."""
    if finish == "error":
        raise TurnwiseError("The model failed while it wrote this answer. Sending the request again may help.")
    if finish == "cancelled":
        raise Unavailable("The answer was cancelled: the server is stopping or the model was taken out of service.")


async def _events(
    head: Head, first: Delta, rest: AsyncGenerator[Delta, None], *, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    """The stream as published: role, pieces, finish reason, usage where asked for, `[DONE]`; an error may end it."""
    hidden = None if include_usage else {"usage"}

    def chunk(delta: PieceDelta, finish: FinishReason | None = None) -> bytes:
        piece = Piece(delta=delta, finish_reason=finish)
        content = Chunk(**shared, choices=[piece]).model_dump(exclude=hidden)
        content["choices"][0]["delta"] = delta.model_dump(exclude_none=True)
        return event(content)

    shared = head.model_dump()
    usage: Usage | None = None
    try:
        yield chunk(PieceDelta(role="assistant", content=""))
        delta: Delta | None = first
        while delta is not None:
            _raise_if_broken(delta.finish)
            if delta.text:
                yield chunk(PieceDelta(content=delta.text))
            usage = delta.usage or usage
            if delta.finish is not None:
                yield chunk(PieceDelta(), delta.finish)
            delta = await anext(rest, None)
    except TurnwiseError as error:
        yield event(error_body(error))
        return
    except Exception as error:
        log_mistake(error)
        yield event(error_body(unexpected()))
        return
    if include_usage and usage is not None:
        yield event(Chunk(**shared, choices=[], usage=UsageBody.of(usage)).model_dump())
    yield DONE
