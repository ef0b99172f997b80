"""Who runs: chats wait for a slot and memory, take them, and may have to give way."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for
from turnwise.engine.kv_cache.kv_cache_manager import BlockTable, KVCacheManager
from turnwise.engine.sequence import SequenceGroup
from turnwise.engine.speculation.draft_proposer import NO_DRAFT

log = logging.getLogger(__name__)

MAX_BYPASS = 64  # chats that may pass one that waits for several slots; then nobody is let in before it


class SchedulerQueues:
    """The chats that wait and those that run.

    `current` is the chat that admission or planning works on: whoever catches an exception knows whom it concerns.
    Giving memory back never raises: it is repaired instead, so no chat fails because another one ends.

    Args:
        memory: the cache's.
        slots: most lines that run at the same time.
    """

    def __init__(self, memory: KVCacheManager, slots: int) -> None:
        self.memory = memory
        self._slots = slots
        self._arrivals = 0
        self.waiting: list[SequenceGroup] = []
        self.running: list[SequenceGroup] = []
        self.current: SequenceGroup | None = None

    def add(self, chat: SequenceGroup) -> None:
        """A chat that waits for its turn."""
        chat.arrival_index = self._arrivals
        self._arrivals += 1
        self.waiting.append(chat)

    def in_order(self) -> list[SequenceGroup]:
        """Those that run, the most urgent first.

        Tenants go by arrival; among the chats of one tenant, those of the lowest priority take the places of the first.
        """
        of_tenant: dict[str, list[SequenceGroup]] = {}
        for chat in self.running:
            of_tenant.setdefault(chat.request.tenant, []).append(chat)
        placed = [
            (place, chat)
            for chats in of_tenant.values()
            for place, chat in zip(
                sorted(chat.arrival_index for chat in chats), sorted(chats, key=_urgency), strict=True
            )
        ]
        return [chat for _, chat in sorted(placed, key=lambda pair: pair[0])]

    def admit(self) -> None:
        """Let chats in while there are slots and memory: the tenants in turn, each tenant's by priority and arrival."""
        self.current = None
        if not self.waiting:
            return
        lines = sum(chat.width for chat in self.running)
        of_tenant = Counter(chat.request.tenant for chat in self.running)
        put_off: set[SequenceGroup] = set()
        wide: list[SequenceGroup] = []  # that wait for several slots
        while candidates := [chat for chat in self.waiting if chat not in put_off]:
            chat = min(
                candidates, key=lambda chat: (of_tenant[chat.request.tenant], chat.request.priority, chat.arrival_index)
            )
            self.current = chat
            if lines and lines + chat.width > self._slots:
                victims = self._less_urgent(chat, lines + chat.width - self._slots)
                if not victims and (chat.width == 1 or chat.starvation_count >= MAX_BYPASS):
                    return
                if not victims:
                    wide.append(chat)
                    put_off.add(chat)
                for victim in victims:
                    self.preempt(victim)
                    lines -= victim.width
                    of_tenant[victim.request.tenant] -= 1
                    put_off.add(victim)
            elif self._is_being_read(chat):
                put_off.add(chat)
            elif self._seat(chat):
                lines += chat.width
                of_tenant[chat.request.tenant] += 1
                for other in wide:
                    other.starvation_count += 1
            else:
                return

    def preempt(self, chat: SequenceGroup) -> None:
        """Take a chat's memory away; it goes on later from where it was, and reads again what is not kept till then."""
        self.release(chat)
        self.running.remove(chat)
        self.waiting.append(chat)

    def release(self, chat: SequenceGroup) -> None:
        """Take a chat's memory back, keeping for others what it has read."""
        try:
            for table, ids in _detach(chat):
                self.memory.close(table, ids)
        except BaseException:
            log.exception("giving back a chat's memory failed; the prefix cache is emptied")
            self.repair()

    def forget(self, chat: SequenceGroup) -> list[int]:
        """Take a chat's memory back and keep nothing of it; the blocks that nobody has now."""
        tables = [table for table, _ in _detach(chat)]
        blocks = [block for table in tables for block in table.blocks]
        try:
            for table in tables:
                self.memory.forget(table)
        except BaseException:
            log.exception("giving back a chat's memory failed; the prefix cache is emptied")
            self.repair()
        return [block for block in dict.fromkeys(blocks) if self.memory.pool.is_free(block)]

    def abandon(self, chat: SequenceGroup) -> None:
        """Take out a chat after an exception, whatever state that left behind. Nothing of it is cached."""
        for chats in (self.running, self.waiting):
            if chat in chats:
                chats.remove(chat)
        self.forget(chat)
        self.repair()  # some of its blocks may have been in no table of it

    def repair(self) -> None:
        """Make the memory's books agree with the chats that run; see `Memory.repair`."""
        tables = [
            (chat.request.scope, line.table) for chat in self.running for line in chat.lines if line.table is not None
        ]
        if self.memory.repair(tables):
            log.warning("the books of the cache's memory were repaired")

    def _less_urgent(self, chat: SequenceGroup, lines: int) -> list[SequenceGroup]:
        """Who gives so many lines to a chat: the least urgent of its own tenant's; nobody where that is not enough."""
        same = [other for other in self.running if other.request.tenant == chat.request.tenant]
        victims = []
        for other in sorted(same, key=_urgency, reverse=True):
            if lines <= 0 or other.request.priority <= chat.request.priority:
                break
            victims.append(other)
            lines -= other.width
        return victims if lines <= 0 else []

    def _seat(self, chat: SequenceGroup) -> bool:
        """Give a chat memory for all it has so far; False where there is too little."""
        line = chat.line
        chat.restart_prefill()
        table = self.memory.open(chat.request.scope, line.ids[: chat.max_prefix_match])
        # A block more for each that runs, or they would have to make room for each other at once.
        spare = sum(chat.width for chat in self.running)
        missing = blocks_for(len(line.ids)) - len(table.blocks)
        if missing + spare > self.memory.pool.available or not self.memory.reserve(table, len(line.ids)):
            self.memory.close(table)
            return False
        line.table = table
        if not chat.begun:
            chat.begun = True
            chat.stats = replace(chat.stats, cached_tokens=table.length)
        self.waiting.remove(chat)
        self.running.append(chat)
        return True

    def _is_being_read(self, chat: SequenceGroup) -> bool:
        """Whether somebody is just reading a beginning that this chat shares: it then waits, and need not read it."""
        if not chat.max_prefix_match:
            return False
        ids, scope = chat.line.ids[: chat.max_prefix_match], chat.request.scope
        for other in self.running:
            table = other.line.table
            if not other.is_prefilling or table is None or other.request.scope != scope:
                continue
            shared = _common_blocks(ids, other.line.ids) * BLOCK_SIZE
            if shared > table.length and shared > self.memory.known(scope, ids):
                return True
        return False


def _detach(chat: SequenceGroup) -> list[tuple[BlockTable, list[int]]]:
    """A chat's tables with their tokens, which it no longer has."""
    tables = [(line.table, line.ids) for line in chat.lines if line.table is not None]
    for line in chat.lines:
        line.table, line.draft = None, NO_DRAFT
    return tables


def _urgency(chat: SequenceGroup) -> tuple[int, int]:
    """The lowest first."""
    return chat.request.priority, chat.arrival_index


def _common_blocks(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many whole blocks two lines of tokens have in common at their beginning."""
    most = min(len(ids) - 1, len(others)) // BLOCK_SIZE
    for at in range(most):
        block = slice(at * BLOCK_SIZE, (at + 1) * BLOCK_SIZE)
        if ids[block] != others[block]:
            return at
    return most
