"""Completions that a client asked to be stored: kept as they were sent, before their end is."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from turnwise.chat.service import Delta, Gathering, Reply
from turnwise.core.executors import STORE_WRITES
from turnwise.core.stored_completions import CompletionStore, StoredCompletion
from turnwise.server.schema.chat_completion_response import Completion, Head

# Of a request, what is kept elsewhere or says nothing of the answer.
_LEFT_OUT = frozenset({"messages", "model", "metadata", "store", "stream", "stream_options"})


class Keeping:
    """Keeps one completion."""

    def __init__(self, store: CompletionStore, head: Head, said: Mapping[str, Any], *, legacy: bool) -> None:
        """Take the request's body as it came in `said`."""
        self._store, self._head, self._said, self._legacy = store, head, said, legacy

    async def keep(self, reply: Reply) -> None:
        """Write it down; on return it is safe on disk."""
        await STORE_WRITES.run(self._store.add, self._completion(reply))

    async def watched(self, deltas: AsyncGenerator[Delta, None], answers: int) -> AsyncGenerator[Delta, None]:
        """The stream as it is; the whole is kept before its last piece is sent. An unfinished one is not kept."""
        gathering = Gathering(answers)
        async with aclosing(deltas):
            async for delta in deltas:
                if (reply := gathering.add(delta)) is not None:
                    await self.keep(reply)
                yield delta

    def _completion(self, reply: Reply) -> StoredCompletion:
        return StoredCompletion(
            id=self._head.id,
            created=self._head.created,
            model=self._head.model,
            messages=tuple(self._said["messages"]),
            request={name: value for name, value in self._said.items() if name not in _LEFT_OUT and value is not None},
            response=Completion.of(self._head, reply, legacy=self._legacy).dump(),
            metadata=self._said.get("metadata") or {},
        )
