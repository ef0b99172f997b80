"""Admission and preemption: the queue of waiting requests and the set of running ones."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, blocks_for
from turnwise.engine.kv_cache.kv_cache_manager import BlockTable, KVCacheManager
from turnwise.engine.sequence import SequenceGroup
from turnwise.engine.speculation.draft_proposer import NO_DRAFT

log = logging.getLogger(__name__)

MAX_OVERTAKEN = 64  # how many requests may overtake a waiting search; then none, until it fits


class SchedulerQueues:
    """Waiting and running sequence groups, and the KV cache that the running ones share.

    Releasing blocks never raises: an error is logged and the cache repaired, so that no request fails because another
    one ends.

    Attributes:
        waiting: groups without blocks, in no particular order.
        running: groups with blocks.
        current: the group that admission or batch building works on; after an exception, the one to blame.

    Args:
        kv_cache: blocks and prefix cache.
        max_num_seqs: maximum number of sequences that run at the same time.
    """

    def __init__(self, kv_cache: KVCacheManager, max_num_seqs: int) -> None:
        self.kv_cache = kv_cache
        self._max_num_seqs = max_num_seqs
        self._num_arrivals = 0
        self.waiting: list[SequenceGroup] = []
        self.running: list[SequenceGroup] = []
        self.current: SequenceGroup | None = None

    def add(self, group: SequenceGroup) -> None:
        """Append a new group to the waiting queue."""
        group.arrival_index = self._num_arrivals
        self._num_arrivals += 1
        self.waiting.append(group)

    def by_urgency(self) -> list[SequenceGroup]:
        """Running groups, most urgent first.

        Each tenant keeps the positions of its requests in arrival order; within them its most urgent request goes
        first. So a priority moves a request ahead of the same tenant's requests only.
        """
        by_tenant: dict[str, list[SequenceGroup]] = {}
        for group in self.running:
            by_tenant.setdefault(group.request.scheduling.tenant, []).append(group)
        positioned = [
            (position, group)
            for groups in by_tenant.values()
            for position, group in zip(
                sorted(group.arrival_index for group in groups), sorted(groups, key=_urgency), strict=True
            )
        ]
        return [group for _, group in sorted(positioned, key=lambda pair: pair[0])]

    def admit(self) -> None:
        """Start waiting groups while sequences and blocks are available.

        The next one belongs to the tenant with the fewest running groups; among a tenant's groups, lower priority
        values and earlier arrivals come first.
        """
        self.current = None
        if not self.waiting:
            return
        num_seqs = sum(group.max_sequences for group in self.running)
        running_by_tenant = Counter(group.request.scheduling.tenant for group in self.running)
        skipped: set[SequenceGroup] = set()
        overtaken: list[SequenceGroup] = []  # searches that need more sequences than are available now
        while candidates := [group for group in self.waiting if group not in skipped]:
            group = min(
                candidates,
                key=lambda group: (
                    running_by_tenant[group.request.scheduling.tenant],
                    group.request.scheduling.priority,
                    group.arrival_index,
                ),
            )
            self.current = group
            if num_seqs and num_seqs + group.max_sequences > self._max_num_seqs:
                victims = self._select_victims(group, num_seqs + group.max_sequences - self._max_num_seqs)
                # Nothing can be preempted. A request for one sequence does not fit, so nothing fits. A search may be
                # overtaken, but not forever.
                if not victims and (group.max_sequences == 1 or group.num_overtaken >= MAX_OVERTAKEN):
                    return
                if not victims:
                    overtaken.append(group)
                    skipped.add(group)
                for victim in victims:
                    self.preempt(victim)
                    num_seqs -= victim.max_sequences
                    running_by_tenant[victim.request.scheduling.tenant] -= 1
                    skipped.add(victim)
            elif self._will_share_running_prefill(group):
                skipped.add(group)
            elif self._start(group):
                num_seqs += group.max_sequences
                running_by_tenant[group.request.scheduling.tenant] += 1
                for search in overtaken:
                    search.num_overtaken += 1
            else:
                return

    def preempt(self, group: SequenceGroup) -> None:
        """Release a running group's blocks and queue it again.

        It continues where it was. Tokens that the prefix cache has lost by then are computed again.
        """
        self.free_blocks(group)
        self.running.remove(group)
        self.waiting.append(group)

    def free_blocks(self, group: SequenceGroup) -> None:
        """Release a group's blocks; their content stays in the prefix cache."""
        try:
            for table, ids in _detach_tables(group):
                self.kv_cache.free(table, ids)
        except BaseException:
            log.exception("releasing the blocks of a request failed; the prefix cache is emptied")
            self.repair()

    def free_blocks_uncached(self, group: SequenceGroup) -> list[int]:
        """Release a group's blocks without caching them. Returns the blocks that are free now."""
        tables = [table for table, _ in _detach_tables(group)]
        blocks = [block for table in tables for block in table.blocks]
        try:
            for table in tables:
                self.kv_cache.discard(table)
        except BaseException:
            log.exception("releasing the blocks of a request failed; the prefix cache is emptied")
            self.repair()
        return [block for block in dict.fromkeys(blocks) if self.kv_cache.pool.is_free(block)]

    def abort(self, group: SequenceGroup) -> None:
        """Remove a group after an exception, whatever state that left. Nothing of it is cached."""
        for groups in (self.running, self.waiting):
            if group in groups:
                groups.remove(group)
        self.free_blocks_uncached(group)
        self.repair()  # the exception may have left blocks that no table refers to

    def repair(self) -> None:
        """Restore a consistent KV cache for the running groups; see `KVCacheManager.repair`."""
        tables = [
            (group.request.scope, sequence.table)
            for group in self.running
            for sequence in group.sequences
            if sequence.table is not None
        ]
        if self.kv_cache.repair(tables):
            log.warning("the block pool and the prefix cache were inconsistent and have been repaired")

    def _select_victims(self, group: SequenceGroup, num_seqs: int) -> list[SequenceGroup]:
        """Groups of the same tenant and lower urgency to preempt for `num_seqs` sequences; [] if that is not enough."""
        same_tenant = [
            running for running in self.running if running.request.scheduling.tenant == group.request.scheduling.tenant
        ]
        victims = []
        for candidate in sorted(same_tenant, key=_urgency, reverse=True):
            if num_seqs <= 0 or candidate.request.scheduling.priority <= group.request.scheduling.priority:
                break
            victims.append(candidate)
            num_seqs -= candidate.max_sequences
        return victims if num_seqs <= 0 else []

    def _start(self, group: SequenceGroup) -> bool:
        """Reserve blocks for all tokens of a group and run it. False if there are too few."""
        sequence = group.sequence
        group.restart_prefill()
        table = self.kv_cache.match_prefix(group.request.scope, sequence.ids[: group.max_prefix_match])
        # Keep one block free per running sequence (vLLM's watermark), else they would be preempted at once.
        spare = sum(running.max_sequences for running in self.running)
        missing = blocks_for(len(sequence.ids)) - len(table.blocks)
        available = self.kv_cache.pool.num_available
        if missing + spare > available or not self.kv_cache.reserve(table, len(sequence.ids)):
            self.kv_cache.free(table)
            return False
        sequence.table = table
        if not group.is_started:
            group.is_started = True
            group.stats = replace(group.stats, cached_tokens=table.num_computed_tokens)
        self.waiting.remove(group)
        self.running.append(group)
        return True

    def _will_share_running_prefill(self, group: SequenceGroup) -> bool:
        """True if a running group is about to compute a prefix of this one: waiting saves computing it twice."""
        if not group.max_prefix_match:
            return False
        ids, scope = group.sequence.ids[: group.max_prefix_match], group.request.scope
        for running in self.running:
            table = running.sequence.table
            if not running.is_prefilling or table is None or running.request.scope != scope:
                continue
            shared = _common_blocks(ids, running.sequence.ids) * BLOCK_SIZE
            if shared > table.num_computed_tokens and shared > self.kv_cache.num_cached_tokens(scope, ids):
                return True
        return False


def _detach_tables(group: SequenceGroup) -> list[tuple[BlockTable, list[int]]]:
    """Take the block tables, with their tokens, away from a group's sequences."""
    tables = [(sequence.table, sequence.ids) for sequence in group.sequences if sequence.table is not None]
    for sequence in group.sequences:
        sequence.table, sequence.draft = None, NO_DRAFT
    return tables


def _urgency(group: SequenceGroup) -> tuple[int, int]:
    """Sort key; lower is more urgent."""
    return group.request.scheduling.priority, group.arrival_index


def _common_blocks(ids: Sequence[int], other_ids: Sequence[int]) -> int:
    """Number of full blocks that two token sequences have in common at the start."""
    limit = min(len(ids) - 1, len(other_ids)) // BLOCK_SIZE
    for at in range(limit):
        block = slice(at * BLOCK_SIZE, (at + 1) * BLOCK_SIZE)
        if ids[block] != other_ids[block]:
            return at
    return limit
