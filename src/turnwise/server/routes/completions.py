"""`POST /v1/completions`: texts gone on with, whole or as a stream; the older interface."""

import secrets
import time
from collections.abc import AsyncGenerator, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from turnwise.chat.service import ChatChoice, ChatDelta, ChatRequest, ChatResponse, ChatService, DecodedToken, Usage
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.error_responses import to_client_error
from turnwise.server.merge_streams import gather_bounded, merge_streams
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.routes.chat_completions import raise_if_failed
from turnwise.server.schema import request_body as body
from turnwise.server.schema.chat_completion_response import UsageBody
from turnwise.server.schema.completion_request import CompletionRequest
from turnwise.server.schema.completion_response import (
    CompletionChoice,
    CompletionChunk,
    CompletionHeader,
    LogprobsBuilder,
    TextCompletion,
)
from turnwise.server.served_models import ServedModels
from turnwise.server.sse import DONE_EVENT, EventStreamResponse, PrefetchedStream, format_error_event, format_event


def router(served_models: ServedModels, limit: int) -> APIRouter:
    """The route over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["completions"])

    @routes.post(
        "/v1/completions",
        responses={200: {"model": TextCompletion, "content": {"text/event-stream": {}}}},
        openapi_extra=json_request_body(CompletionRequest),
    )
    async def create_completion(request: Request) -> Response:
        """The continuation of a text, or of several; with `stream`, as server-sent events that end with `[DONE]`."""
        payload = await body.read(request, CompletionRequest, limit)
        service = served_models.find(payload.model)
        current_request().user = payload.user
        turns = payload.to_chat_requests()
        texts = [await run_in_threadpool(_PromptStream.of, service, turn, bool(payload.echo)) for turn in turns]
        head = CompletionHeader(
            id=f"cmpl-{secrets.token_hex(12)}", created=int(time.time()), model=service.name,
            system_fingerprint=service.fingerprint,
        )  # fmt: skip
        try:
            if payload.stream:
                deltas = merge_streams([service.stream(turn) for turn in turns])
                interval = request.app.state.sse_keep_alive
                started = await PrefetchedStream.start(deltas, interval, request.receive)
                return EventStreamResponse(_events(head, texts, started, payload), started, interval)
            replies = await cancel_on_disconnect(
                request.receive, gather_bounded([service.reply(turn) for turn in turns])
            )
        except ClientDisconnected:
            return Response(status_code=499)  # nobody reads it
        return _completion(head, texts, replies)

    return routes


class _PromptStream:
    """One prompt and the texts that go on from it: what is sent of the prompt, and where each text has come to."""

    def __init__(self, turn: ChatRequest, echo: str, first: DecodedToken | None) -> None:
        self.answers = turn.n
        self._echo, self._first = echo, first
        self._begun: set[int] = set()
        self._reports = [LogprobsBuilder() for _ in range(turn.n)]

    @classmethod
    def of(cls, service: ChatService, turn: ChatRequest, echo: bool) -> "_PromptStream":
        """Raises `UserError` where the prompt cannot be read."""
        if not echo:
            return cls(turn, "", None)
        assert turn.prompt is not None
        ids = service.prompt_ids(turn)
        text = turn.prompt if isinstance(turn.prompt, str) else service.tokens.decode(ids)
        return cls(turn, text, service.tokens.decode_token(ids[0]) if turn.prompt_output == "logprobs" else None)

    def choice(self, index: int, piece: ChatDelta | ChatChoice) -> CompletionChoice:
        """What is sent of a piece, or of all, of the text `index`; the prompt's echo is before its first."""
        begins = index not in self._begun
        self._begun.add(index)
        shown = self._first is not None
        # With an echo the lists tell of every token that was read or drawn, the end too: who scores a text by asking
        # for one token more leaves the last place out, whatever was drawn.
        end = (piece.stop_token_logprobs,) if shown and piece.stop_token_logprobs is not None else ()
        logprobs = self._reports[index].add(
            (*(piece.prompt_logprobs if shown else ()), *piece.logprobs, *end), self._first if begins else None
        )
        text = (self._echo if begins else "") + piece.text
        return CompletionChoice(index=index, text=text, logprobs=logprobs, finish_reason=piece.finish_reason)


def _completion(head: CompletionHeader, texts: Sequence[_PromptStream], replies: Sequence[ChatResponse]) -> Response:
    choices: list[CompletionChoice] = []
    for text, reply in zip(texts, replies, strict=True):
        for index, answer in enumerate(reply.choices):
            raise_if_failed(answer.finish_reason)
            choice = text.choice(index, answer)
            choices.append(choice.model_copy(update={"index": len(choices)}))
    response = TextCompletion(
        **head.model_dump(), choices=choices, usage=UsageBody.of(_sum([r.usage for r in replies]))
    )
    return Response(response.model_dump_json(), media_type="application/json")


async def _events(
    head: CompletionHeader,
    texts: Sequence[_PromptStream],
    deltas: PrefetchedStream[tuple[int, ChatDelta]],
    payload: CompletionRequest,
) -> AsyncGenerator[bytes, None]:
    """The stream as published: pieces, usage where asked for, `[DONE]`; an error may end it."""
    shared, hidden = head.model_dump(), None if payload.include_usage else {"usage"}
    usages: list[Usage] = []
    try:
        while (item := await deltas.next()) is not None:
            number, delta = item
            raise_if_failed(delta.finish_reason)
            choice = texts[number].choice(delta.index, delta)
            if choice.text or choice.logprobs or choice.finish_reason:
                before = sum(text.answers for text in texts[:number])
                choice.index += before
                yield format_event(
                    CompletionChunk(**shared, choices=[choice]).model_dump(exclude=hidden),
                    padded=payload.include_obfuscation,
                )
            if delta.usage is not None:
                usages.append(delta.usage)
    except Exception as error:
        yield format_error_event(to_client_error(error))
        return
    if payload.include_usage:
        usage = UsageBody.of(_sum(usages))
        yield format_event(
            CompletionChunk(**shared, choices=[], usage=usage).model_dump(), padded=payload.include_obfuscation
        )
    yield DONE_EVENT


def _sum(usages: Sequence[Usage]) -> Usage:
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
        sum(usage.accepted_prediction_tokens for usage in usages),
        sum(usage.rejected_prediction_tokens for usage in usages),
    )
