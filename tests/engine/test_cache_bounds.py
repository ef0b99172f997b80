"""What an engine keeps from earlier requests has a bound, whatever clients send."""

import tracemalloc

import pytest
from reference import Desk, make, request

from turnwise.chat.summary_cache import MAX_SUMMARIES, SummaryCache
from turnwise.core.chat_response import ConversationSummary, Usage
from turnwise.engine.kv_cache.kv_cache_manager import KVCacheManager
from turnwise.engine.kv_cache.prefix_tree import PrefixTree
from turnwise.engine.speculation.draft_proposer import (
    MAX_CACHED_TOKENS,
    MAX_SCOPES,
    MAX_TOKENS_PER_SCOPE,
    DraftProposer,
)

pytestmark = pytest.mark.usefixtures("one_thread")

MEGABYTE = 2**20


def test_the_prefix_tree_has_a_node_for_each_block_at_most_and_a_bounded_number_of_scopes():
    memory = KVCacheManager(64, lambda source, target: None)
    memory.tree = PrefixTree(memory.pool, max_scopes=100)
    for number in range(1000):
        ids = [number, *range(40)]
        table = memory.match_prefix(f"scope {number}", ids)
        assert memory.reserve(table, len(ids))
        table.length = len(ids)
        memory.free(table, ids)
        assert len(memory.tree) <= 64
        assert len(memory.tree._roots) <= 100
    assert memory.pool.num_available == 64


def test_earlier_answers_for_drafts_take_a_bounded_number_of_bytes():
    drafts = DraftProposer()
    tracemalloc.start()
    try:
        for number in range(2 * MAX_CACHED_TOKENS // 2000):
            drafts.add_output(
                f"scope {number % (2 * MAX_SCOPES)}", [1, 2, 3], range(5000 * number, 5000 * number + 2000)
            )
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert sum(answers.num_tokens for answers in drafts._by_scope.values()) <= MAX_CACHED_TOKENS + MAX_TOKENS_PER_SCOPE
    assert used < 32 * MEGABYTE


def test_summaries_are_bounded():
    summaries = SummaryCache()
    for number in range(2 * MAX_SUMMARIES):
        summaries.put(str(number).encode(), ConversationSummary("text", 1, Usage(0, 0)))
    assert len(summaries._summaries) == MAX_SUMMARIES


def test_many_requests_of_many_scopes_leave_nothing_but_what_is_bounded():
    desk = Desk(make(context=96), slots=4, blocks=24)
    for number in range(60):
        desk.submit(request([number % 61, 5, *range(30)], most=12, scope=f"scope {number}"))
    desk.finish()
    queues = desk.scheduler.queues
    assert len(queues.kv_cache.tree) <= 24
    assert not queues.running
    assert not queues.waiting
