"""`POST /v1/completions`: text completions, complete or streamed."""

import secrets
import time
from collections.abc import AsyncGenerator, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatChoice, ChatDelta, ChatResponse, DecodedToken, Usage
from turnwise.core.chat_service import ChatService
from turnwise.server.disconnect import ClientDisconnected, cancel_on_disconnect
from turnwise.server.error_responses import raise_if_failed, to_client_error
from turnwise.server.merge_streams import gather_bounded, merge_streams
from turnwise.server.middleware.access_log import CLIENT_CLOSED_REQUEST
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.route_roles import requires
from turnwise.server.schema.completion_request import CompletionRequest
from turnwise.server.schema.completion_response import (
    CompletionChoice,
    CompletionChunk,
    CompletionHeader,
    LogprobsBuilder,
    TextCompletion,
)
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.usage import UsageBody
from turnwise.server.served_models import ServedModels
from turnwise.server.sse import DONE_EVENT, EventStreamResponse, PrefetchedStream, format_error_event, format_event


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["completions"])

    @routes.post(
        "/v1/completions",
        responses={200: {"model": TextCompletion, "content": {"text/event-stream": {}}}},
        openapi_extra=json_request_body(CompletionRequest),
    )
    @requires("user")
    async def create_completion(request: Request) -> Response:
        """Continue one or several texts; with `stream`, as server-sent events that end with `[DONE]`."""
        body = await read_body(request, CompletionRequest, max_body_bytes)
        current_request().user = body.user
        chat_requests = body.to_chat_requests()
        service = await served_models.select(body.model, chat_requests[0])
        encoders = [
            await run_in_threadpool(_PromptEncoder.of, service, chat_request, bool(body.echo))
            for chat_request in chat_requests
        ]
        header = CompletionHeader(
            id=f"cmpl-{secrets.token_hex(12)}", created=int(time.time()), model=service.name,
            system_fingerprint=service.fingerprint,
        )  # fmt: skip
        try:
            if body.stream:
                deltas = merge_streams([service.stream(chat_request) for chat_request in chat_requests])
                keep_alive = request.app.state.sse_keep_alive
                stream = await PrefetchedStream.start(deltas, keep_alive, request.receive)
                return EventStreamResponse(_events(header, encoders, stream, body), stream, keep_alive)
            work = gather_bounded([service.reply(chat_request) for chat_request in chat_requests])
            responses = await cancel_on_disconnect(request.receive, work)
        except ClientDisconnected:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return _completion(header, encoders, responses)

    return routes


class _PromptEncoder:
    """Encodes the choices of one prompt; with `echo`, the prompt comes before the text of each."""

    def __init__(self, n: int, echo: str, first_token: DecodedToken | None) -> None:
        """Encode `n` choices; `first_token` is set if the log-probabilities of the prompt are returned."""
        self.n = n
        self._echo, self._first_token = echo, first_token
        self._started: set[int] = set()  # indexes of the choices that have sent something
        self._logprobs_builders = [LogprobsBuilder() for _ in range(n)]

    @classmethod
    def of(cls, service: ChatService, request: ChatRequest, echo: bool) -> "_PromptEncoder":
        """Create the encoder for a request. Raises `UserError` if the prompt is invalid."""
        if not echo:
            return cls(request.output.n, "", None)
        assert request.prompt is not None
        ids = service.prompt_ids(request)
        text = request.prompt if isinstance(request.prompt, str) else service.tokens.decode(ids)
        first_token = service.tokens.decode_token(ids[0]) if request.output.prompt_output == "logprobs" else None
        return cls(request.output.n, text, first_token)

    def encode(self, index: int, output: ChatDelta | ChatChoice) -> CompletionChoice:
        """Encode a delta of the choice `index`, or the complete choice."""
        is_first = index not in self._started
        self._started.add(index)
        has_prompt_logprobs = self._first_token is not None
        # With the log-probabilities of the prompt, the token that ended the text is listed too. Evaluation harnesses
        # score a text by requesting one more token, and drop the last entry, whatever it is.
        stop_token = output.stop_token_logprobs if has_prompt_logprobs else None
        prompt_logprobs = output.prompt_logprobs if has_prompt_logprobs else ()
        logprobs = self._logprobs_builders[index].add(
            (*prompt_logprobs, *output.logprobs, *([] if stop_token is None else [stop_token])),
            self._first_token if is_first else None,
        )
        text = (self._echo if is_first else "") + output.text
        return CompletionChoice(index=index, text=text, logprobs=logprobs, finish_reason=output.finish_reason)


def _completion(
    header: CompletionHeader, encoders: Sequence[_PromptEncoder], responses: Sequence[ChatResponse]
) -> Response:
    choices: list[CompletionChoice] = []
    for encoder, response in zip(encoders, responses, strict=True):
        for index, chat_choice in enumerate(response.choices):
            raise_if_failed(chat_choice.finish_reason)
            choice = encoder.encode(index, chat_choice)
            choices.append(choice.model_copy(update={"index": len(choices)}))
    usage = UsageBody.of_sum([response.usage for response in responses])
    completion = TextCompletion(**header.model_dump(), choices=choices, usage=usage)
    return Response(completion.model_dump_json(), media_type="application/json")


async def _events(
    header: CompletionHeader,
    encoders: Sequence[_PromptEncoder],
    deltas: PrefetchedStream[tuple[int, ChatDelta]],
    body: CompletionRequest,
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks, the usage if it is included, and `[DONE]`; or an error event at the end."""
    shared, excluded_fields = header.model_dump(), None if body.include_usage else {"usage"}
    usages: list[Usage] = []
    try:
        while (item := await deltas.next()) is not None:
            prompt_index, delta = item
            raise_if_failed(delta.finish_reason)
            choice = encoders[prompt_index].encode(delta.index, delta)
            if choice.text or choice.logprobs or choice.finish_reason:
                choice.index += sum(encoder.n for encoder in encoders[:prompt_index])
                chunk = CompletionChunk(**shared, choices=[choice])
                yield format_event(chunk.model_dump(exclude=excluded_fields), padded=body.include_obfuscation)
            if delta.usage is not None:
                usages.append(delta.usage)
    except Exception as error:
        yield format_error_event(to_client_error(error))
        return
    if body.include_usage:
        chunk = CompletionChunk(**shared, choices=[], usage=UsageBody.of_sum(usages))
        yield format_event(chunk.model_dump(), padded=body.include_obfuscation)
    yield DONE_EVENT
