"""Answers that are generated to their end without a client: a page that is reloaded attaches to them again.

An answer has a slot of the `ConcurrencyLimiter` and its time limit, as a request has. It ends when it is complete,
cancelled, too late, or when the server stops; what exists is in the conversation.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass, field

from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta
from turnwise.core.errors import InvalidParameter, NotFound, TurnwiseError, Unavailable
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.stored_conversations import ConversationStore
from turnwise.core.stored_messages import StoredMessage
from turnwise.server.error_responses import RequestRejected, to_client_error
from turnwise.server.middleware.concurrency_limit import ConcurrencyLimiter, timeout_error
from turnwise.server.request_context import RequestContext, current_request
from turnwise.server.sse import PrefetchedStream

STOPPED_CODE = "answer_stopped"
STOP_SECONDS = 1.0  # for cancelled answers to be stored when the server stops

Encode = Callable[[PrefetchedStream[ChatDelta]], AsyncGenerator[bytes, None]]

log = logging.getLogger("turnwise.server")


@dataclass(eq=False)
class BackgroundAnswer:
    """An answer that is being generated. Used on the event loop only.

    Attributes:
        id: the id of its request.
        conversation_id: where it is stored.
        request: the request that it answers.
        encode: encodes its deltas as the events of a stream.
    """

    id: str
    conversation_id: str
    request: ChatRequest
    encode: Encode
    _deltas: list[ChatDelta] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _is_done: bool = False
    _failure: TurnwiseError | None = None
    task: "asyncio.Task[None] | None" = None

    async def deltas(self) -> AsyncGenerator[ChatDelta, None]:
        """All deltas from the first one on, and then those that come. Closing it does not end the answer."""
        position = 0
        while True:
            while position < len(self._deltas):
                position += 1
                yield self._deltas[position - 1]
            if self._is_done:
                if self._failure is not None:
                    raise self._failure
                return
            await self._changed.wait()

    def position(self, branch: Sequence[StoredMessage]) -> int | None:
        """How many messages of a branch precede the answer, which may be stored in part; None: it is in another one."""
        messages, is_continuation = self.request.messages, self.request.context.continue_final_message
        num_before = len(messages) - is_continuation
        stored = [entry.message for entry in branch]
        if stored[:num_before] != list(messages[:num_before]) or len(stored) > num_before + 1:
            return None
        if len(stored) == num_before:
            return None if is_continuation else num_before
        last = branch[-1]
        if last.message.role != "assistant":
            return None
        # Until it is saved for the first time, the branch ends with an earlier version, or with what it continues.
        is_saved = last.meta.get("finish") == "in_progress"
        return num_before if not is_continuation or is_saved or last.message == messages[-1] else None

    def add(self, delta: ChatDelta) -> None:
        """Add a delta."""
        self._deltas.append(delta)
        self._notify()

    def finish(self, failure: TurnwiseError | None) -> None:
        """End the streams, with an error if the answer failed."""
        self._is_done, self._failure = True, failure
        self._notify()

    def cancel(self) -> None:
        """Stop generating. What exists is stored."""
        if self.task is not None:
            self.task.cancel()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()  # every waiter has the old one


class BackgroundAnswers:
    """The answers of a server that are being generated in the background. Used on the event loop only."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter
        self._answers: dict[tuple[str, str], BackgroundAnswer] = {}

    def start(
        self, request: ChatRequest, deltas: AsyncGenerator[ChatDelta, None], encode: Encode, store: ConversationStore
    ) -> BackgroundAnswer:
        """Generate an answer for the current request, which gives its slot and its leases to the answer.

        Args:
            request: the request, with a conversation id.
            deltas: the answer. Closed at its end.
            encode: encodes deltas as events.
            store: the store as the caller sees it.

        Raises:
            InvalidParameter: an answer of this conversation has the id of the request.
        """
        context, conversation_id = current_request(), request.conversation_id
        assert conversation_id is not None, "answers without a client are stored"
        key = (conversation_id, context.id)
        if key in self._answers:
            raise InvalidParameter("background", f"An answer with the request id '{context.id}' is being generated.")
        answer = self._answers[key] = BackgroundAnswer(context.id, conversation_id, request, encode)
        leases = context.leases.pop_all()
        answer.task = asyncio.create_task(self._run(answer, deltas, context, leases, store))
        return answer

    def running(self, conversation_id: str) -> Sequence[BackgroundAnswer]:
        """The answers of a conversation, oldest first."""
        return [answer for answer in self._answers.values() if answer.conversation_id == conversation_id]

    def find(self, conversation_id: str, id: str) -> BackgroundAnswer:
        """An answer that is being generated. Raises `NotFound`."""
        answer = self._answers.get((conversation_id, id))
        if answer is None:
            raise NotFound(f"No answer '{id[:60]}' of this conversation is being generated here; it may have ended.")
        return answer

    async def cancel(self, answers: Sequence[BackgroundAnswer]) -> None:
        """Stop answers, and return when they are stored."""
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*(answer.task for answer in answers if answer.task), return_exceptions=True)

    async def cancel_conversation(self, conversation_id: str) -> None:
        """Stop all answers of a conversation."""
        await self.cancel(self.running(conversation_id))

    async def stop(self) -> None:
        """Wait until the answers that the limiter has stopped are stored. Called when the server stops."""
        tasks = [answer.task for answer in self._answers.values() if answer.task]
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    async def _run(
        self,
        answer: BackgroundAnswer,
        deltas: AsyncGenerator[ChatDelta, None],
        context: RequestContext,
        leases: ExitStack,
        store: ConversationStore,
    ) -> None:
        request_limit = context.limit
        limit = context.limit = asyncio.timeout(self._limiter.limits.request_timeout)
        started = time.time()
        failure: TurnwiseError | None = None
        try:
            with leases:
                async with limit:
                    self._limiter.acquire(limit, context.key)
                    if request_limit is not None:
                        self._limiter.release(request_limit)
                    async with aclosing(deltas):
                        async for delta in deltas:
                            answer.add(delta)
        except asyncio.CancelledError:
            failure = RequestRejected(409, STOPPED_CODE, "The answer was stopped.")
        except TimeoutError as error:
            failure = timeout_error(self._limiter) if limit.expired() else to_client_error(error)
        except Exception as error:
            failure = to_client_error(error)
        finally:
            self._limiter.release(limit)
            self._answers.pop((answer.conversation_id, answer.id), None)
        if isinstance(failure, Unavailable) and limit.expired():
            await _mark_interrupted(store, answer.conversation_id, started)
        answer.finish(failure)


async def _mark_interrupted(store: ConversationStore, conversation_id: str, started: float) -> None:
    """Let the answer that the stop of the server cut off count as interrupted, not as stopped by the user."""
    with suppress(TurnwiseError):
        conversation = await STORE_READ_EXECUTOR.run(store.get, conversation_id)
        for stored in conversation.tree:
            if stored.created >= started and stored.meta.get("finish") == "cancelled":
                meta = {"finish": "in_progress"}
                await STORE_WRITE_EXECUTOR.run(store.update_message, stored.id, meta=meta)
