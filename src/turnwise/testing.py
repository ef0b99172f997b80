"""Honest fakes and a real server in a thread, for our tests and for those of whoever builds on Turnwise."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from turnwise.chat.tool_calling import as_pieces
from turnwise.chat.context_policies import DEFAULT
from turnwise.chat.conversation_recorder import TurnRecorder
from turnwise.chat.service import ContextReport, Delta, Reply, Turn, Usage, whole_reply
from turnwise.core.errors import UserError
from turnwise.core.messages import ToolCall
from turnwise.core.parameters import GenerationParams
from turnwise.core.ports import ConversationStore, FinishReason
from turnwise.server.uvicorn_server import server_config

Script = Callable[[Turn], Iterable[str | ToolCall]]


class ScriptedChat:
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
        refusal: UserError | None = None,
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
        self._context, self._refusal = context, refusal
        self._delay, self._finish, self._fail_after, self._failure = delay, finish, fail_after, failure
        self.name, self.created, self.fingerprint, self.context_length = name, 1_700_000_000, "fp_scripted", 2048
        self.defaults: Mapping[str, Any] = dict(defaults or {})
        self.context_policy = DEFAULT
        self.store = store
        self.turns: list[Turn] = []
        self.cancelled = 0
        self.produced = 0
        self.is_healthy = True

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        """The scripted chunks, then an empty delta with how it ended and how much it was; words count as tokens."""
        GenerationParams.resolve(turn.sampling, self.defaults)
        self.turns.append(turn)
        recorder = await TurnRecorder.begin(self.store, turn, self.name)
        finish: FinishReason = "error"
        is_last = False
        try:
            if self._refusal is not None:
                if recorder is not None:
                    await recorder.refuse(self._refusal)
                raise self._refusal
            async with aclosing(self._deltas(turn)) as deltas:
                async for delta in deltas:
                    is_last = delta.usage is not None
                    if recorder is not None:
                        recorder.add(delta)
                        if is_last:
                            await recorder.complete()
                    yield delta
        except (asyncio.CancelledError, GeneratorExit):
            finish = "cancelled"
            self.cancelled += not is_last  # a client may close the stream once it has everything
            raise
        finally:
            if recorder is not None:
                await recorder.abandon(finish)

    async def _deltas(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        if turn.prompt_output == "embedding":
            yield Delta(finish="stop", usage=Usage(1, 0), embedding=(1.0,))
            return
        said: list[str] = []
        calls: list[ToolCall] = []
        for chunk in self._script(turn) if callable(self._script) else self._script:
            if self._fail_after is not None and len(said) + len(calls) >= self._fail_after:
                raise self._failure or RuntimeError("scripted failure")
            await asyncio.sleep(self._delay)
            self.produced += 1
            if isinstance(chunk, ToolCall):
                calls.append(chunk)
                yield Delta(tool_calls=tuple(as_pieces(calls)[-2:]))
            else:
                said.append(chunk)
                yield Delta(chunk)
        finish: FinishReason = "tool_calls" if calls and self._finish == "stop" else self._finish
        for index in range(1, turn.n):  # the others say the same in one go
            yield Delta("".join(said), finish, index=index, tool_calls=tuple(as_pieces(calls)))
        read = await self.count_input_tokens(turn)
        usage = Usage(prompt_tokens=read, completion_tokens=len(said) + len(calls))
        if self._context is not None:
            usage += self._context.usage
        yield Delta(finish=finish, usage=usage, context=self._context)

    async def count_input_tokens(self, turn: Turn) -> int:
        """The words of the messages."""
        return sum(len(message.content.split()) for message in turn.messages)

    async def reply(self, turn: Turn) -> Reply:
        """The same answer, whole."""
        return await whole_reply(self.stream, turn)


@contextmanager
def listening(app: FastAPI, **settings: float) -> Iterator[str]:
    """The base URL of `app`, served on a free port of this machine until the block ends.

    `settings` are those of `server_config`.
    """
    config = server_config(app, **settings)
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
