"""Stores the messages of a request before generation, and the response during generation.

Nothing is replaced: an edited message, a regenerated response and a request from an outdated page become branches of
the conversation tree.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Literal

from turnwise.chat.tool_calling import merge_tool_call_deltas
from turnwise.core.chat_request import ChatRequest
from turnwise.core.chat_response import ChatDelta
from turnwise.core.errors import NotFound, TurnwiseError
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.inference import FinishReason
from turnwise.core.messages import Message
from turnwise.core.served_versions import ROUTED_KEY
from turnwise.core.service_report import ServiceReport
from turnwise.core.stored_conversations import ConversationStore
from turnwise.core.stored_messages import GENERATION_KEY
from turnwise.core.tools import ToolCallDelta

TITLE_LENGTH = 60
SAVE_SECONDS = 1.0  # interval between saves of a growing response: a crash loses at most this much

log = logging.getLogger("turnwise.chat")


class ConversationRecorder:
    """Stores one request and its response in a conversation."""

    def __init__(self, store: ConversationStore, conversation_id: str, request: ChatRequest, model: str) -> None:
        """Prepare the recorder. Use `start`, which stores the messages."""
        self._store, self._conversation_id, self._request, self._model = store, conversation_id, request, model
        self._continued_text = request.continued_text
        self._text: list[str] = []
        self._tool_calls: list[ToolCallDelta] = []
        self._finish_reason: FinishReason | Literal["in_progress"] = "in_progress"
        self._service: ServiceReport | None = None
        self._person_meta: dict[str, Any] = {"consent": request.consent}
        if request.user is not None:
            self._person_meta["user"] = request.user
        self._extra_meta = self._person_meta | ({} if request.is_routed else {ROUTED_KEY: False})
        if request.generation_id is not None:
            self._extra_meta[GENERATION_KEY] = request.generation_id
        if parameters := _numeric_parameters(request.sampling):
            self._extra_meta["sampling"] = parameters
        self._follows_handoffs = False
        self._request_ids: tuple[str, ...] = ()
        self._response_id: str | None = None  # used in the store's thread only
        self._saved_at = 0.0
        self._pending_save: Future[None] | None = None
        self._is_complete = False

    @classmethod
    async def start(
        cls, store: ConversationStore | None, request: ChatRequest, model: str
    ) -> "ConversationRecorder | None":
        """Store the messages of the request. Returns None if the request has no conversation.

        Raises:
            NotFound: there is no such conversation.
            Unavailable: the store is busy.
            SaveFailed: the write failed.
        """
        if store is None or request.conversation_id is None:
            return None
        store = store.for_principal(request.principal)
        recorder = cls(store, request.conversation_id, request, model)
        recorder._request_ids = await STORE_WRITE_EXECUTOR.run(
            store.ensure_branch, request.conversation_id, request.messages, title=derive_title(request.messages),
            meta=recorder._person_meta,
        )  # fmt: skip
        return recorder

    @property
    def last_request_id(self) -> str | None:
        """Id of the last message of the request; None if it has none."""
        return self._request_ids[-1] if self._request_ids else None

    def annotate(self, meta: Mapping[str, Any]) -> None:
        """Add metadata to the response. Call it before the first delta."""
        self._extra_meta |= meta

    def follow_handoffs(self) -> None:
        """Add the response below the messages of a hand-off that has opened meanwhile, not beside them.

        Call it before the first delta.
        """
        self._follows_handoffs = True

    async def record_error(self, error: TurnwiseError) -> None:
        """Store why the request failed."""
        meta = {"error": {"code": error.code, "message": str(error)}}
        with suppress(TurnwiseError):  # the original error is more important
            await STORE_WRITE_EXECUTOR.run(self._store.update_message, self._request_ids[-1], meta=meta)

    def add(self, delta: ChatDelta) -> None:
        """Add a delta. Saves the response in the background, at most once per `SAVE_SECONDS`."""
        self._text.append(delta.text)
        self._tool_calls.extend(delta.tool_calls)
        self._finish_reason = delta.finish_reason or self._finish_reason
        self._service = delta.service or self._service
        if delta.mean_logprob is not None and math.isfinite(delta.mean_logprob):
            self._extra_meta["mean_logprob"] = round(delta.mean_logprob, 4)
        if delta.usage is not None:
            self._extra_meta["usage"] = delta.usage.stored_meta()
        now = time.monotonic()
        self._saved_at = self._saved_at or now
        if now - self._saved_at >= SAVE_SECONDS and (self._pending_save is None or self._pending_save.done()):
            self._saved_at = now
            self._pending_save = self._submit()

    async def save_complete(self) -> None:
        """Save the complete response. Raises as `start` does."""
        self._is_complete = True
        await STORE_WRITE_EXECUTOR.result(self._submit())

    async def save_partial(self, finish_reason: FinishReason) -> None:
        """Save a response that ended early, with its finish reason. Does nothing after `save_complete`.

        The save is submitted before the wait, so it happens even if the caller is cancelled.
        """
        if self._is_complete:
            return
        self._finish_reason = finish_reason
        try:
            await STORE_WRITE_EXECUTOR.result(self._submit())
        except TurnwiseError as error:
            log.error("A partial response was not saved: %s", error)

    def _submit(self) -> "Future[None]":
        """Submit a save of the current state. Saves run in order."""
        text = "".join(self._text)
        message = Message("assistant", self._continued_text + text, tool_calls=merge_tool_call_deltas(self._tool_calls))
        has_content = bool(text or message.tool_calls)
        meta: dict[str, Any] = {"finish": self._finish_reason, "model": self._model, **self._extra_meta}
        if self._service is not None:
            meta |= self._service.stored_meta()
        return STORE_WRITE_EXECUTOR.submit(self._save, message if has_content else None, meta)

    def _save(self, message: Message | None, meta: Mapping[str, Any]) -> None:
        """Runs in the store's thread. Does nothing if the conversation was deleted in the meantime."""
        with suppress(NotFound):
            if message is None:
                return
            if self._response_id is not None:
                self._store.update_message(self._response_id, content=message, meta=meta)
                return
            # The continued version of a message is its sibling.
            parents = self._request_ids[:-1] if self._request.context.continue_final_message else self._request_ids
            parent_id = parents[-1] if parents else None
            if self._follows_handoffs:
                say = self._store.handoffs.say
                self._response_id = say(self._conversation_id, message, meta, parent_id=parent_id)
            else:
                (self._response_id,) = self._store.append(self._conversation_id, [message], meta, parent_id=parent_id)


def _numeric_parameters(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The generation parameters of a request that contain no text."""
    return {name: value for name, value in sampling.items() if isinstance(value, int | float)}


def derive_title(messages: Sequence[Message]) -> str:
    """First non-empty line of the first user message, cut to `TITLE_LENGTH` characters."""
    text = next((message.content for message in messages if message.role == "user"), "")
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
