"""Honest fakes and a real server in a thread, for our tests and for those of whoever builds on Turnwise."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from turnwise.chat.context_policies import DEFAULT_CONTEXT_POLICY
from turnwise.chat.conversation_recorder import ConversationRecorder
from turnwise.chat.service import ChatDelta, ChatRequest, ChatResponse, ContextReport, Usage, collect_response
from turnwise.chat.tool_calling import to_tool_call_deltas
from turnwise.core.errors import UserError
from turnwise.core.messages import ToolCall
from turnwise.core.parameters import GenerationParams
from turnwise.core.ports import ConversationStore, FinishReason
from turnwise.server.uvicorn_server import uvicorn_config

Script = Callable[[ChatRequest], Iterable[str | ToolCall]]


class ScriptedChatService:
    """A `ChatService` without a model: it says what it is told to, chunk by chunk.

    It checks generation parameters, keeps conversations and can be cancelled as the real one does. `turns` lists what
    was asked of it, `cancelled` counts the answers that were left unfinished, `produced` the chunks that were made.
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
        """Take the chunks to say and the tools to call, or a function that makes them from the turn.

        Args:
            script: the chunks and calls of every answer, or how to make them.
            name: the served name.
            store: where turns with a conversation id are kept.
            delay: seconds before each chunk.
            finish: how every answer ends; one that calls and would stop ends with "tool_calls".
            fail_after: raise `failure` after that many chunks.
            failure: what to raise then.
            defaults: the model's own generation parameters.
            context: what to say that a context policy did.
            refusal: raised in place of every answer, as for messages that do not fit.
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

    async def stream(self, turn: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """The scripted chunks, then an empty delta with how it ended and how much it was; words count as tokens."""
        GenerationParams.resolve(turn.sampling, self.defaults)
        self.requests.append(turn)
        recorder = await ConversationRecorder.start(self.store, turn, self.name)
        finish: FinishReason = "error"
        is_last = False
        try:
            if self._rejection is not None:
                if recorder is not None:
                    await recorder.record_error(self._rejection)
                raise self._rejection
            async with aclosing(self._deltas(turn)) as deltas:
                async for delta in deltas:
                    is_last = delta.usage is not None
                    if recorder is not None:
                        recorder.add(delta)
                        if is_last:
                            await recorder.save_complete()
                    yield delta
        except (asyncio.CancelledError, GeneratorExit):
            finish = "cancelled"
            self.num_cancelled += not is_last  # a client may close the stream once it has everything
            raise
        finally:
            if recorder is not None:
                await recorder.save_partial(finish)

    async def _deltas(self, turn: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        if turn.prompt_output == "embedding":
            yield ChatDelta(finish_reason="stop", usage=Usage(1, 0), embedding=(1.0,))
            return
        texts: list[str] = []
        calls: list[ToolCall] = []
        for chunk in self._script(turn) if callable(self._script) else self._script:
            if self._fail_after is not None and len(texts) + len(calls) >= self._fail_after:
                raise self._failure or RuntimeError("scripted failure")
            await asyncio.sleep(self._delay)
            self.num_chunks += 1
            if isinstance(chunk, ToolCall):
                calls.append(chunk)
                yield ChatDelta(tool_calls=tuple(to_tool_call_deltas(calls)[-2:]))
            else:
                texts.append(chunk)
                yield ChatDelta(chunk)
        finish: FinishReason = "tool_calls" if calls and self._finish == "stop" else self._finish
        for index in range(1, turn.n):  # the others say the same in one go
            yield ChatDelta("".join(texts), finish, index=index, tool_calls=tuple(to_tool_call_deltas(calls)))
        read = await self.count_input_tokens(turn)
        usage = Usage(prompt_tokens=read, completion_tokens=len(texts) + len(calls))
        if self._context is not None:
            usage += self._context.usage
        yield ChatDelta(finish_reason=finish, usage=usage, context=self._context)

    async def count_input_tokens(self, turn: ChatRequest) -> int:
        """The words of the messages."""
        return sum(len(message.content.split()) for message in turn.messages)

    async def reply(self, turn: ChatRequest) -> ChatResponse:
        """The same answer, whole."""
        return await collect_response(self.stream, turn)


@contextmanager
def serve_in_thread(app: FastAPI, **settings: float) -> Iterator[str]:
    """The base URL of `app`, served on a free port of this machine until the block ends.

    `settings` are those of `server_config`.
    """
    config = uvicorn_config(app, **settings)
    config.host, config.port = "127.0.0.1", 0
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
        assert not thread.is_alive(), "the server did not end"
