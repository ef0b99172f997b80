"""`POST /v1/completions`: texts gone on with, whole or as a stream; the older interface."""

import secrets
import time
from collections.abc import AsyncGenerator, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from turnwise.chat.service import Answer, ChatService, Delta, Likely, Reply, Turn, Usage
from turnwise.server.schema import request_body as body
from turnwise.server.schema.chat_completion_response import UsageBody
from turnwise.server.error_responses import explained
from turnwise.server.request_context import current
from turnwise.server.disconnect import ClientGone, unless_gone
from turnwise.server.openapi import json_request_body
from turnwise.server.routes.chat_completions import raise_if_broken
from turnwise.server.served_models import Served
from turnwise.server.sse import DONE, EventStream, StartedStream, error_event, event
from turnwise.server.schema.completion_response import TextChoice, TextChunk, TextCompletion, TextHead, TextReports
from turnwise.server.schema.completion_request import TextRequest
from turnwise.server.merge_streams import all_of, together


def router(served: Served, limit: int) -> APIRouter:
    """The route over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["completions"])

    @routes.post(
        "/v1/completions",
        responses={200: {"model": TextCompletion, "content": {"text/event-stream": {}}}},
        openapi_extra=json_request_body(TextRequest),
    )
    async def create_completion(request: Request) -> Response:
        """The continuation of a text, or of several; with `stream`, as server-sent events that end with `[DONE]`."""
        asked = await body.read(request, TextRequest, limit)
        service = served.find(asked.model)
        current().user = asked.user
        turns = asked.to_chat_requests()
        texts = [await run_in_threadpool(_Text.of, service, turn, bool(asked.echo)) for turn in turns]
        head = TextHead(
            id=f"cmpl-{secrets.token_hex(12)}", created=int(time.time()), model=service.name,
            system_fingerprint=service.fingerprint,
        )  # fmt: skip
        try:
            if asked.stream:
                deltas = together([service.stream(turn) for turn in turns])
                interval = request.app.state.sse_keep_alive
                started = await StartedStream.start(deltas, interval, request.receive)
                return EventStream(_events(head, texts, started, asked), started, interval)
            replies = await unless_gone(request.receive, all_of([service.reply(turn) for turn in turns]))
        except ClientGone:
            return Response(status_code=499)  # nobody reads it
        return _completion(head, texts, replies)

    return routes


class _Text:
    """One prompt and the texts that go on from it: what is sent of the prompt, and where each text has come to."""

    def __init__(self, turn: Turn, echo: str, first: Likely | None) -> None:
        self.answers = turn.n
        self._echo, self._first = echo, first
        self._begun: set[int] = set()
        self._reports = [TextReports() for _ in range(turn.n)]

    @classmethod
    def of(cls, service: ChatService, turn: Turn, echo: bool) -> "_Text":
        """Raises `UserError` where the prompt cannot be read."""
        if not echo:
            return cls(turn, "", None)
        assert turn.prompt is not None
        ids = service.prompt_ids(turn)
        text = turn.prompt if isinstance(turn.prompt, str) else service.tokens.decode(ids)
        return cls(turn, text, service.tokens.likely(ids[0]) if turn.prompt_output == "logprobs" else None)

    def choice(self, index: int, piece: Delta | Answer) -> TextChoice:
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
        return TextChoice(index=index, text=text, logprobs=logprobs, finish_reason=piece.finish)


def _completion(head: TextHead, texts: Sequence[_Text], replies: Sequence[Reply]) -> Response:
    choices: list[TextChoice] = []
    for text, reply in zip(texts, replies, strict=True):
        for index, answer in enumerate(reply.choices):
            raise_if_broken(answer.finish)
            choice = text.choice(index, answer)
            choices.append(choice.model_copy(update={"index": len(choices)}))
    whole = TextCompletion(**head.model_dump(), choices=choices, usage=UsageBody.of(_sum([r.usage for r in replies])))
    return Response(whole.model_dump_json(), media_type="application/json")


async def _events(
    head: TextHead,
    texts: Sequence[_Text],
    deltas: StartedStream[tuple[int, Delta]],
    asked: TextRequest,
) -> AsyncGenerator[bytes, None]:
    """The stream as published: pieces, usage where asked for, `[DONE]`; an error may end it."""
    shared, hidden = head.model_dump(), None if asked.include_usage else {"usage"}
    usages: list[Usage] = []
    try:
        while (item := await deltas.next()) is not None:
            number, delta = item
            raise_if_broken(delta.finish)
            choice = texts[number].choice(delta.index, delta)
            if choice.text or choice.logprobs or choice.finish_reason:
                before = sum(text.answers for text in texts[:number])
                choice.index += before
                yield event(TextChunk(**shared, choices=[choice]).model_dump(exclude=hidden), padded=asked.obfuscated)
            if delta.usage is not None:
                usages.append(delta.usage)
    except Exception as error:
        yield error_event(explained(error))
        return
    if asked.include_usage:
        usage = UsageBody.of(_sum(usages))
        yield event(TextChunk(**shared, choices=[], usage=usage).model_dump(), padded=asked.obfuscated)
    yield DONE


def _sum(usages: Sequence[Usage]) -> Usage:
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
        sum(usage.accepted_tokens for usage in usages),
        sum(usage.rejected_tokens for usage in usages),
    )
