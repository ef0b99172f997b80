"""Watches for a hand-off that opens while an answer is generated: then the model must not speak any more."""

import time

from turnwise.core.executors import STORE_READ_EXECUTOR
from turnwise.core.stored_conversations import ConversationStore

CHECK_SECONDS = 0.5


class HandoffWatch:
    """Reads the hand-off of one conversation, at most every `CHECK_SECONDS`."""

    def __init__(self, store: ConversationStore | None, conversation_id: str | None) -> None:
        self._store, self._conversation_id = store, conversation_id
        self._checked_at = time.monotonic()

    async def is_open(self, *, at_once: bool = False) -> bool:
        """True if a hand-off is open. Without `at_once`, a recent look suffices."""
        if self._store is None or self._conversation_id is None:
            return False
        if not at_once and time.monotonic() - self._checked_at < CHECK_SECONDS:
            return False
        self._checked_at = time.monotonic()
        handoff = await STORE_READ_EXECUTOR.run(self._store.handoffs.current, self._conversation_id)
        return handoff is not None and handoff.is_open
