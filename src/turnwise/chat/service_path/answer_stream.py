"""Sends and stores the answer of the service path."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from turnwise.chat.conversation_recorder import ConversationRecorder
from turnwise.chat.service_path.handoff_watch import HandoffWatch
from turnwise.chat.service_path.turn import ServiceAnswer
from turnwise.core.chat_response import ChatDelta
from turnwise.core.errors import TurnwiseError
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.handoffs import Handoff, HandoffRequest, HandoffStore
from turnwise.core.inference import FinishReason
from turnwise.core.messages import Message
from turnwise.core.service_report import ServiceReport
from turnwise.core.stored_conversations import ConversationStore


async def stream_answer(
    answer: ServiceAnswer, report: ServiceReport | None, recorder: ConversationRecorder | None, watch: HandoffWatch
) -> AsyncGenerator[ChatDelta, None]:
    """The deltas of an answer, stored as they are sent. If a person takes over meanwhile, the answer ends.

    Raises as `ChatService.stream` does.
    """
    finish_reason: FinishReason = "cancelled"
    is_first = True
    deltas = answer.deltas if answer.deltas is not None else _text_deltas(answer)
    try:
        async with aclosing(deltas):
            async for delta in deltas:
                if await watch.is_open(at_once=is_first):
                    delta = ChatDelta(finish_reason="stop", usage=answer.usage)
                is_first = False
                if delta.usage is not None and report is not None:
                    delta = replace(delta, service=report)
                if recorder is not None:
                    recorder.add(delta)
                    if delta.usage is not None:
                        await recorder.save_complete()
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


async def stream_handoff(
    answer: ServiceAnswer, request: HandoffRequest, report: ServiceReport, handoffs: HandoffStore
) -> AsyncGenerator[ChatDelta, None]:
    """Open a hand-off and send its sentence, which the store keeps in the same transaction.

    If the customer has opened one meanwhile, its sentence was stored then, and this one is not sent.
    """
    opening = replace(request, notices={**request.notices, "open": answer.text}, notice_meta=report.stored_meta())
    handoff = await STORE_WRITE_EXECUTOR.run(handoffs.open, opening)
    is_new = handoff.request == replace(opening, notice_meta={})
    async for delta in _text_deltas(answer if is_new else replace(answer, text="")):
        yield delta if delta.usage is None else replace(delta, service=report)


async def stream_during_handoff(
    answer: ServiceAnswer, report: ServiceReport, handoff: Handoff, store: ConversationStore, model: str
) -> AsyncGenerator[ChatDelta, None]:
    """Send a sentence while a hand-off is open, and store it below what the person and the customer wrote."""
    if answer.text:
        meta = {"finish": "stop", "model": model, "handoff": handoff.id, **report.stored_meta()}
        message = Message("assistant", answer.text)
        await STORE_WRITE_EXECUTOR.run(store.append, handoff.request.conversation_id, [message], meta)
    async for delta in _text_deltas(answer):
        yield delta if delta.usage is None else replace(delta, service=report)


async def _text_deltas(answer: ServiceAnswer) -> AsyncGenerator[ChatDelta, None]:
    if answer.text:
        yield ChatDelta(answer.text)
    yield ChatDelta(finish_reason="stop", usage=answer.usage)
