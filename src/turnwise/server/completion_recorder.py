"""Completions that a client asked to be stored: kept as they were sent, before their end is."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from turnwise.chat.service import ChatDelta, ChatResponse, DeltaAccumulator
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.stored_completions import CompletionStore, StoredCompletion
from turnwise.server.schema.chat_completion_response import ChatCompletion, ChatCompletionHeader

# Of a request, what is kept elsewhere or says nothing of the answer.
_OMITTED_FIELDS = frozenset({"messages", "model", "metadata", "store", "stream", "stream_options"})


class CompletionRecorder:
    """Keeps one completion."""

    def __init__(
        self, store: CompletionStore, head: ChatCompletionHeader, request_body: Mapping[str, Any], *, legacy: bool
    ) -> None:
        """Take the request's body as it came in `said`."""
        self._store, self._head, self._request_body, self._legacy = store, head, request_body, legacy

    async def keep(self, reply: ChatResponse) -> None:
        """Write it down; on return it is safe on disk."""
        await STORE_WRITE_EXECUTOR.run(self._store.add, self._completion(reply))

    async def record_stream(
        self, deltas: AsyncGenerator[ChatDelta, None], answers: int
    ) -> AsyncGenerator[ChatDelta, None]:
        """The stream as it is; the whole is kept before its last piece is sent. An unfinished one is not kept."""
        gathering = DeltaAccumulator(answers)
        async with aclosing(deltas):
            async for delta in deltas:
                if (reply := gathering.add(delta)) is not None:
                    await self.keep(reply)
                yield delta

    def _completion(self, reply: ChatResponse) -> StoredCompletion:
        return StoredCompletion(
            id=self._head.id,
            created=self._head.created,
            model=self._head.model,
            messages=tuple(self._request_body["messages"]),
            request={
                name: value
                for name, value in self._request_body.items()
                if name not in _OMITTED_FIELDS and value is not None
            },
            response=ChatCompletion.of(self._head, reply, legacy=self._legacy).dump(),
            metadata=self._request_body.get("metadata") or {},
        )
