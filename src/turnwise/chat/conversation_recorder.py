"""Stores a request's messages before it is answered, and the answer while it is written.

Nothing is ever replaced: an edited message, an answer that is generated again and a question from a page that was
loaded earlier become branches of the conversation's tree.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Literal

from turnwise.chat.tool_calling import merge_tool_call_deltas
from turnwise.core.chat_request import ChatDelta, ChatRequest
from turnwise.core.errors import NotFound, TurnwiseError
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.messages import Message
from turnwise.core.ports import ConversationStore, FinishReason
from turnwise.core.tools import ToolCallDelta

TITLE_LENGTH = 60
SAVE_SECONDS = 1.0  # between two saves of an answer that is being written: a crash loses no more of it

log = logging.getLogger("turnwise.chat")


class ConversationRecorder:
    """Stores one request and its answer in a conversation."""

    def __init__(self, store: ConversationStore, conversation_id: str, turn: ChatRequest, model: str) -> None:
        """Record `turn`, which `model` answers. Nothing is stored before `begin`."""
        self._store, self._conversation_id, self._turn, self._model = store, conversation_id, turn, model
        self._opening = turn.messages[-1].content if turn.continue_final_message else ""
        self._text: list[str] = []
        self._calls: list[ToolCallDelta] = []
        self._finish: FinishReason | Literal["in_progress"] = "in_progress"
        self._question_ids: tuple[str, ...] = ()
        self._answer_id: str | None = None  # only the store's thread reads and writes it
        self._saved_at = 0.0
        self._saving: Future[None] | None = None
        self._complete = False

    @classmethod
    async def start(
        cls, store: ConversationStore | None, turn: ChatRequest, model: str
    ) -> "ConversationRecorder | None":
        """Store the request's messages; None where they belong to no conversation.

        Raises:
            NotFound: there is no such conversation.
            Unavailable: the store is busy.
            SaveFailed: the disk refuses.
        """
        if store is None or turn.conversation_id is None:
            return None
        recorder = cls(store, turn.conversation_id, turn, model)
        recorder._question_ids = await STORE_WRITE_EXECUTOR.run(
            store.ensure_branch, turn.conversation_id, turn.messages, title=derive_title(turn.messages)
        )
        return recorder

    async def record_error(self, error: TurnwiseError) -> None:
        """Record why the request cannot be answered."""
        meta = {"error": {"code": error.code, "message": str(error)}}
        with suppress(TurnwiseError):  # the refusal itself matters more
            await STORE_WRITE_EXECUTOR.run(self._store.update_message, self._question_ids[-1], meta=meta)

    def add(self, delta: ChatDelta) -> None:
        """Take a piece of the answer. Now and then, what has been written so far is saved in the background."""
        self._text.append(delta.text)
        self._calls.extend(delta.tool_calls)
        self._finish = delta.finish_reason or self._finish
        now = time.monotonic()
        self._saved_at = self._saved_at or now
        if now - self._saved_at >= SAVE_SECONDS and (self._saving is None or self._saving.done()):
            self._saved_at = now
            self._saving = self._submit()

    async def save_complete(self) -> None:
        """Save the answer, which is complete. Raises as `begin` does."""
        self._complete = True
        await STORE_WRITE_EXECUTOR.result(self._submit())

    async def save_partial(self, finish: FinishReason) -> None:
        """Save what was written of an answer that ended early for this reason. Does nothing after `complete`.

        The save is under way before this waits for it, so it happens even where the caller is cancelled.
        """
        if self._complete:
            return
        self._finish = finish
        try:
            await STORE_WRITE_EXECUTOR.result(self._submit())
        except TurnwiseError as error:
            log.error("An answer that ended early was not saved: %s", error)

    def _submit(self) -> "Future[None]":
        """Save the answer as it is now, after every save before."""
        text = "".join(self._text)
        message = Message("assistant", self._opening + text, tool_calls=merge_tool_call_deltas(self._calls))
        has_content = bool(text or message.tool_calls)
        return STORE_WRITE_EXECUTOR.submit(self._save, message if has_content else None, self._finish)

    def _save(self, message: Message | None, finish: str) -> None:
        """Runs in the store's thread. A conversation that was deleted meanwhile stays deleted."""
        meta = {"finish": finish, "model": self._model}
        with suppress(NotFound):
            if message is None:
                return
            if self._answer_id is not None:
                self._store.update_message(self._answer_id, content=message, meta=meta)
                return
            # A continued message and its longer version are siblings.
            above = self._question_ids[:-1] if self._turn.continue_final_message else self._question_ids
            parent_id = above[-1] if above else None
            (self._answer_id,) = self._store.append(self._conversation_id, [message], meta, parent_id=parent_id)


def derive_title(messages: Sequence[Message]) -> str:
    """The first line of the first user message, cut to a title's length."""
    text = next((message.content for message in messages if message.role == "user"), "")
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
