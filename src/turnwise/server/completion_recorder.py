"""Stores completions of requests with `"store": true`, with the version of the model that answered."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from turnwise.chat.delta_accumulator import DeltaAccumulator
from turnwise.core.chat_response import ChatDelta, ChatResponse
from turnwise.core.collected_answers import Consent
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.stored_completions import CompletionStore, StoredCompletion
from turnwise.server.request_context import current_request
from turnwise.server.schema.chat_completion_response import ChatCompletion, ChatCompletionHeader

# Request fields that are stored elsewhere, or that do not affect the answer.
_OMITTED_FIELDS = frozenset({"messages", "model", "metadata", "store", "stream", "stream_options"})


class CompletionRecorder:
    """Stores one completion as it is sent."""

    def __init__(
        self,
        store: CompletionStore,
        header: ChatCompletionHeader,
        request_body: Mapping[str, Any],
        *,
        legacy: bool,
        user: str | None = None,
        consent: Consent | None = None,
    ) -> None:
        """Record into `store`.

        Args:
            store: store of completions.
            header: id, model and time of the completion.
            request_body: the JSON of the request.
            legacy: tool calls are sent as `function_call`.
            user: the person within the API key.
            consent: what may be collected.
        """
        self._store, self._header, self._request_body, self._legacy = store, header, request_body, legacy
        self._user, self._consent = user, consent
        self._version = current_request().version

    async def record(self, response: ChatResponse) -> None:
        """Store a response. Returns when it is safe on disk."""
        await STORE_WRITE_EXECUTOR.run(self._store.add, self._stored_completion(response))

    async def record_stream(self, deltas: AsyncGenerator[ChatDelta, None], n: int) -> AsyncGenerator[ChatDelta, None]:
        """Pass a stream of `n` choices on. It is stored before its last delta is sent; an unfinished one is not."""
        accumulator = DeltaAccumulator(n)
        async with aclosing(deltas):
            async for delta in deltas:
                if (response := accumulator.add(delta)) is not None:
                    await self.record(response)
                yield delta

    def _stored_completion(self, response: ChatResponse) -> StoredCompletion:
        fields = self._request_body.items()
        return StoredCompletion(
            id=self._header.id,
            created=self._header.created,
            model=self._header.model,
            messages=tuple(self._request_body["messages"]),
            request={name: value for name, value in fields if name not in _OMITTED_FIELDS and value is not None},
            response=ChatCompletion.of(self._header, response, legacy=self._legacy).dump(),
            metadata=self._request_body.get("metadata") or {},
            user=self._user,
            consent=self._consent,
            version="" if self._version is None else self._version.reference,
            weights_sha256="" if self._version is None else self._version.weights_sha256,
            is_routed=self._version is None or self._version.is_routed,
        )
