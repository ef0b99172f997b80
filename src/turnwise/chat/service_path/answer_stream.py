"""Sends and stores the answer of the service path."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from turnwise.chat.conversation_recorder import ConversationRecorder
from turnwise.chat.service_path.handoff_watch import HandoffWatch
from turnwise.chat.service_path.turn import ServiceAnswer
from turnwise.core.chat_response import ChatDelta, Usage
from turnwise.core.errors import TurnwiseError
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.handoffs import Handoff, HandoffRequest
from turnwise.core.inference import FinishReason
from turnwise.core.messages import Message
from turnwise.core.service_report import ServiceReport
from turnwise.core.stored_conversations import HEAD, ConversationStore

log = logging.getLogger("turnwise.chat")
_PARAGRAPH = "\n\n"
_STORING: set[asyncio.Task[str]] = set()  # an event loop keeps no reference to its tasks


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """Where an answer is stored.

    Attributes:
        store: the store, as the principal of the request sees it.
        conversation_id: the conversation.
        model: served name of the model.
        parent_id: message that the answer follows, unless a hand-off is open.
        meta: metadata of the answer besides the report.
    """

    store: ConversationStore
    conversation_id: str
    model: str
    parent_id: str | None = HEAD
    meta: Mapping[str, Any] = field(default_factory=dict)

    async def say(self, text: str, report: ServiceReport) -> None:
        """Store a sentence, which is an event of the hand-off if one is open. Raises as `HandoffStore.say` does."""
        message = Message("assistant", text)
        meta = {"finish": "stop", "model": self.model, **self.meta, **report.stored_meta()}
        await STORE_WRITE_EXECUTOR.run(
            self.store.handoffs.say, self.conversation_id, message, meta, parent_id=self.parent_id
        )

    async def open(self, request: HandoffRequest, notice: str, report: ServiceReport) -> bool:
        """Open a hand-off whose first notice is stored with it. Returns False if one was open already."""
        meta = {**self.meta, **report.stored_meta()}
        opening = replace(request, notices={**request.notices, "open": notice}, notice_meta=meta)
        handoff: Handoff = await STORE_WRITE_EXECUTOR.run(self.store.handoffs.open, opening)
        return handoff.request == replace(opening, notice_meta={})


async def stream_answer(
    answer: ServiceAnswer, report: ServiceReport | None, recorder: ConversationRecorder | None, watch: HandoffWatch
) -> AsyncGenerator[ChatDelta, None]:
    """The deltas of an answer, stored as they are sent. If a person takes over meanwhile, the answer ends.

    Raises as `ChatService.stream` does.
    """
    finish_reason: FinishReason = "cancelled"
    is_first = True
    deltas = answer.deltas if answer.deltas is not None else _text_deltas(answer.text, answer.usage)
    try:
        async with aclosing(deltas):
            async for delta in deltas:
                if await watch.is_open(at_once=is_first):
                    delta = ChatDelta(finish_reason="stop", usage=delta.usage or delta.usage_so_far or answer.usage)
                if delta.usage is not None and report is not None:
                    delta = replace(delta, service=report)
                if recorder is not None:
                    recorder.add(delta)
                    if delta.usage is not None:
                        await recorder.save_complete()
                is_first = False
                yield delta
                if delta.usage is not None:
                    return
    except TurnwiseError as error:
        finish_reason = "error"
        if recorder is not None:
            await recorder.record_error(error)
        raise
    finally:
        if recorder is not None:
            await recorder.save_partial(finish_reason)


async def stream_safety_line(
    answer: ServiceAnswer, report: ServiceReport, turn: StoredTurn | None
) -> AsyncGenerator[ChatDelta, None]:
    """Say a safety line before anything else, then store it, and call a person if it asks for one.

    Neither a hand-off that opens at the same moment nor an error of the store keeps it from the customer.
    """
    storing = None
    if turn is not None:
        # A task of its own: it calls a person even if the customer disconnects at once.
        storing = asyncio.create_task(_store_safety_line(answer, report, turn))
        _STORING.add(storing)
        storing.add_done_callback(_STORING.discard)
    yield ChatDelta(answer.text)
    notice = "" if storing is None else await asyncio.shield(storing)
    if notice:
        yield ChatDelta(f"{_PARAGRAPH}{notice}")
    yield ChatDelta(finish_reason="stop", usage=answer.usage, service=replace(report, is_notice=bool(notice)))


async def _store_safety_line(answer: ServiceAnswer, report: ServiceReport, turn: StoredTurn) -> str:
    """Store the line. Returns the sentence about the hand-off that it opens; empty if it opens none."""
    try:
        if answer.handoff is not None:
            notice = answer.handoff.notices["open"]
            text = f"{answer.text}{_PARAGRAPH}{notice}"
            if await turn.open(answer.handoff, text, replace(report, is_notice=True)):
                return notice
        await turn.say(answer.text, report)
    except TurnwiseError as error:
        log.error("A safety line was said, and could not be stored: %s", error)
    return ""


async def stream_handoff(
    answer: ServiceAnswer, request: HandoffRequest, report: ServiceReport, turn: StoredTurn
) -> AsyncGenerator[ChatDelta, None]:
    """Open a hand-off and send its sentence, which the store keeps in the same transaction.

    If the customer has opened one meanwhile, its sentence was stored then, and this one is not sent.
    """
    text = answer.text if await turn.open(request, answer.text, report) else ""
    async for delta in _text_deltas(text, answer.usage):
        yield delta if delta.usage is None else replace(delta, service=report)


async def stream_during_handoff(
    answer: ServiceAnswer, report: ServiceReport, turn: StoredTurn
) -> AsyncGenerator[ChatDelta, None]:
    """Send a sentence while a hand-off is open, and store it below what the person and the customer wrote."""
    if answer.text:
        await turn.say(answer.text, report)
    async for delta in _text_deltas(answer.text, answer.usage):
        yield delta if delta.usage is None else replace(delta, service=report)


async def _text_deltas(text: str, usage: Usage) -> AsyncGenerator[ChatDelta, None]:
    if text:
        yield ChatDelta(text)
    yield ChatDelta(finish_reason="stop", usage=usage)
