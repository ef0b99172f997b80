"""Sends copies of requests to a shadow version, whose answers nobody sees."""

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace

from turnwise.chat.versions.live_version import LiveVersion
from turnwise.chat.versions.outcome_counter import AnswerOutcome, OutcomeCounter
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import TurnwiseError

MAX_WAITING = 8  # copies that wait or run; more are dropped
SHADOW_PRIORITY = 1_000_000  # after all requests of the same tenant; it is preempted when they need its blocks

log = logging.getLogger("turnwise.chat")


class ShadowTraffic:
    """Answers copies one after another, at low priority and without storing anything. Used in one event loop.

    Attributes:
        num_dropped: copies that were dropped because too many waited.
    """

    def __init__(self, outcomes: OutcomeCounter) -> None:
        """Count in `outcomes`."""
        self._outcomes = outcomes
        self._last: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # an event loop keeps no reference to its tasks
        self.num_dropped = 0

    def offer(self, request: ChatRequest, shadow: LiveVersion) -> None:
        """Copy a request that was answered. Returns at once; drops the copy if too many wait."""
        if len(self._tasks) >= MAX_WAITING:
            self.num_dropped += 1
            return
        copied = replace(
            request, conversation_id=None, scheduling=replace(request.scheduling, priority=SHADOW_PRIORITY)
        )
        task = asyncio.create_task(self._answer(copied, shadow, self._last))
        self._last = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: ChatRequest, shadow: LiveVersion, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        if not shadow.acquire():
            return
        try:
            failed = False
            async with aclosing(shadow.service.stream(request)) as deltas:
                async for delta in deltas:
                    failed = failed or delta.finish_reason == "error"
            self._outcomes.record(shadow.number, AnswerOutcome(failed))
        except TurnwiseError as error:
            if error.http_status >= 500:
                self._outcomes.record(shadow.number, AnswerOutcome(True))
        except Exception:
            log.exception("the shadow version failed")
            self._outcomes.record(shadow.number, AnswerOutcome(True))
        finally:
            shadow.release()
