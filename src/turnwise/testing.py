"""Test doubles: a scripted chat service, and a real HTTP server in a thread."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

import uvicorn
from fastapi import FastAPI

from turnwise.chat.context_policies import DEFAULT_CONTEXT_POLICY
from turnwise.chat.conversation_recorder import ConversationRecorder
from turnwise.chat.delta_accumulator import collect_embedding, collect_response
from turnwise.chat.request_checks import check_no_scenario
from turnwise.chat.tool_calling import to_tool_call_deltas
from turnwise.core.attention import NO_ATTENTION, AttentionQuery, AttentionWeights
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta, ChatResponse, ContextReport, Usage
from turnwise.core.chat_service import ScenarioInfo, TokenInspector
from turnwise.core.errors import UserError
from turnwise.core.inference import FinishReason
from turnwise.core.messages import ToolCall
from turnwise.core.parameters import GenerationParams
from turnwise.core.stored_conversations import ConversationStore
from turnwise.server.uvicorn_server import uvicorn_config

Script = Callable[[ChatRequest], Iterable[str | ToolCall]]


class ScriptedChatService:
    """Streams scripted chunks without a model (implements `core.chat_service.ChatService`).

    Like the real service, it validates generation parameters, stores conversations and supports cancellation.
    `requests` lists the requests that it received, `num_cancelled` counts the cancelled completions and `num_chunks`
    the chunks that it produced.
    """

    def __init__(
        self,
        script: Iterable[str | ToolCall] | Script = ("Hello", ", ", "you", "."),
        *,
        name: str = "scripted",
        store: ConversationStore | None = None,
        delay: float = 0.0,
        finish: FinishReason = "stop",
        fail_after: int | None = None,
        failure: Exception | None = None,
        defaults: Mapping[str, Any] | None = None,
        context: ContextReport | None = None,
        rejection: UserError | None = None,
    ) -> None:
        """Create a service with a fixed script, or with a function that returns the script for a request.

        Args:
            script: the text chunks and tool calls of every completion, or a function that returns them.
            name: the served model name.
            store: the store for requests with a conversation id.
            delay: seconds to wait before each chunk.
            finish: the finish reason; "stop" becomes "tool_calls" when the script has tool calls.
            fail_after: raise `failure` after this number of chunks.
            failure: the exception for `fail_after`; default RuntimeError.
            defaults: the model's default generation parameters.
            context: the report of the context policy.
            rejection: an error that is raised for every request before the first chunk.
        """
        self._script = script if callable(script) else tuple(script)
        self._context, self._rejection = context, rejection
        self._delay, self._finish, self._fail_after, self._failure = delay, finish, fail_after, failure
        self.name, self.created, self.fingerprint, self.context_length = name, 1_700_000_000, "fp_scripted", 2048
        self.defaults: Mapping[str, Any] = dict(defaults or {})
        self.context_policy = DEFAULT_CONTEXT_POLICY
        self.store = store
        self.requests: list[ChatRequest] = []
        self.num_cancelled = 0
        self.num_chunks = 0
        self.is_healthy = True
        self.scenarios: tuple[ScenarioInfo, ...] = ()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Yield the scripted chunks, then a delta with the finish reason and the usage; words count as tokens."""
        check_no_scenario(request)
        GenerationParams.resolve(request.sampling, self.defaults)
        self.requests.append(request)
        recorder = await ConversationRecorder.start(self.store, request, self.name)
        finish: FinishReason = "error"
        is_last, has_started = False, False
        try:
            if self._rejection is not None:
                if recorder is not None:
                    await recorder.record_error(self._rejection)
                raise self._rejection
            async with aclosing(self._deltas(request)) as deltas:
                async for delta in deltas:
                    is_last = delta.usage is not None
                    if recorder is not None:
                        recorder.add(delta)
                        if is_last:
                            await recorder.save_complete()
                    if request.output.echo and not has_started:
                        delta = replace(delta, text=request.continued_text + delta.text)
                    has_started = True
                    yield delta
        except (asyncio.CancelledError, GeneratorExit):
            finish = "cancelled"
            self.num_cancelled += not is_last  # a client may close the stream after the last delta
            raise
        finally:
            if recorder is not None:
                await recorder.save_partial(finish)

    async def _deltas(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        if request.output.prompt_output == "embedding":
            yield ChatDelta(finish_reason="stop", usage=Usage(1, 0), embedding=(1.0,))
            return
        texts: list[str] = []
        calls: list[ToolCall] = []
        num_prompt_tokens = await self.count_input_tokens(request)
        for chunk in self._script(request) if callable(self._script) else self._script:
            if self._fail_after is not None and len(texts) + len(calls) >= self._fail_after:
                raise self._failure or RuntimeError("scripted failure")
            await asyncio.sleep(self._delay)
            self.num_chunks += 1
            if isinstance(chunk, ToolCall):
                calls.append(chunk)
                yield ChatDelta(tool_calls=tuple(to_tool_call_deltas(calls)[-2:]))
            else:
                texts.append(chunk)
                yield ChatDelta(chunk, usage_so_far=Usage(num_prompt_tokens, len(texts) + len(calls)))
        finish: FinishReason = "tool_calls" if calls and self._finish == "stop" else self._finish
        for index in range(1, request.output.n):  # the other choices have the same text in one delta
            yield ChatDelta("".join(texts), finish, index=index, tool_calls=tuple(to_tool_call_deltas(calls)))
        usage = Usage(prompt_tokens=num_prompt_tokens, completion_tokens=len(texts) + len(calls))
        if self._context is not None:
            usage += self._context.usage
        yield ChatDelta(finish_reason=finish, usage=usage, context=self._context)

    async def count_input_tokens(self, request: ChatRequest) -> int:
        """Return the number of words in the messages."""
        return sum(len(message.content.split()) for message in request.messages)

    async def attention(self, request: ChatRequest, query: AttentionQuery) -> AttentionWeights:
        """Raises `UserError`: there is no model."""
        del request, query
        raise UserError(NO_ATTENTION)

    async def reply(self, request: ChatRequest) -> ChatResponse:
        """Return the complete response."""
        return await collect_response(self.stream, request)

    async def embed(self, prompt: str | tuple[int, ...]) -> tuple[tuple[float, ...], Usage]:
        """Return the embedding `(1.0,)`."""
        return await collect_embedding(self.stream, prompt)

    @property
    def tokens(self) -> TokenInspector:
        """Raises `UserError`: there is no tokenizer."""
        raise UserError("The scripted chat service has no tokenizer.")

    def prompt_ids(self, request: ChatRequest) -> tuple[int, ...]:
        """Raises `UserError`: there is no tokenizer."""
        del request
        raise UserError("The scripted chat service has no tokenizer.")


@contextmanager
def serve_in_thread(app: FastAPI, port: int = 0, **settings: float) -> Iterator[str]:
    """Serve `app` on a local port within the `with` block; 0 picks a free one. Yields the base URL.

    `settings` are passed to `uvicorn_config`.
    """
    config = uvicorn_config(app, **settings)
    config.host, config.port = "127.0.0.1", port
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"
