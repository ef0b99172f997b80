"""Caches of earlier requests are bounded, whatever clients send."""

import tracemalloc

import pytest
from reference import SchedulerHarness, make_decoder, request

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


def test_the_prefix_tree_has_at_most_one_node_per_block_and_a_bounded_number_of_scopes():
    kv_cache = KVCacheManager(64, lambda source, target: None)
    kv_cache.tree = PrefixTree(kv_cache.pool, max_scopes=100)
    for number in range(1000):
        ids = [number, *range(40)]
        table = kv_cache.match_prefix(f"scope {number}", ids)
        assert kv_cache.reserve(table, len(ids))
        table.num_computed_tokens = len(ids)
        kv_cache.free(table, ids)
        assert len(kv_cache.tree) <= 64
        assert len(kv_cache.tree._roots) <= 100
    assert kv_cache.pool.num_available == 64


@pytest.mark.costly
def test_cached_outputs_for_drafts_take_bounded_memory():
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


def test_many_requests_of_many_scopes_leave_only_bounded_caches():
    harness = SchedulerHarness(make_decoder(context=96), max_num_seqs=4, num_blocks=24)
    for number in range(60):
        harness.submit(request([number % 61, 5, *range(30)], max_tokens=12, scope=f"scope {number}"))
    harness.finish()
    queues = harness.scheduler.queues
    assert len(queues.kv_cache.tree) <= 24
    assert not queues.running
    assert not queues.waiting
