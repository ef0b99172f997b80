"""Block pool, prefix tree and block tables: no leaks, no sharing between scopes, no eviction of blocks in use."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, BlockPool, blocks_for
from turnwise.engine.kv_cache.kv_cache_manager import KVCacheManager


def make_kv_cache(blocks):
    """A KV cache that records the copies it makes."""
    copies = []
    kv_cache = KVCacheManager(blocks, lambda source, target: copies.append((source, target)))
    kv_cache.copies = copies
    return kv_cache


def fill_table(kv_cache, ids, scope=""):
    """A block table of these tokens, all computed and inserted into the prefix tree."""
    table = kv_cache.match_prefix(scope, ids)
    assert kv_cache.reserve(table, len(ids))
    table.num_computed_tokens = len(ids)
    kv_cache.insert_prefix(table, ids)
    return table


def test_a_block_is_free_when_its_last_reference_is_dropped():
    pool = BlockPool(2)
    first, second = pool.allocate(), pool.allocate()
    assert (first, second, pool.num_free) == (0, 1, 0)
    pool.incref([first])
    pool.decref([first])
    assert pool.num_free == 0
    pool.decref([first, second])
    assert pool.num_available == pool.num_free == 2


def test_a_cached_prefix_is_reused():
    kv_cache = make_kv_cache(20)
    ids = list(range(70))
    kv_cache.free(fill_table(kv_cache, ids))
    assert kv_cache.pool.num_available == 20
    again = kv_cache.match_prefix("", [*ids, 1, 2, 3])
    assert again.num_computed_tokens == 64
    branch = kv_cache.match_prefix("", [*ids[:40], 99, 98, 97])
    assert branch.num_computed_tokens == 40
    assert branch.blocks[:2] == again.blocks[:2], "they share blocks"


def test_retained_prefixes_are_bounded_and_unused_memory_stays_untouched():
    kv_cache = KVCacheManager(1000, lambda source, target: None, max_retained_blocks=8)
    highest = 0
    for number in range(50):
        table = fill_table(kv_cache, [number] * 50)
        highest = max(highest, *table.blocks)
        kv_cache.free(table, [number] * 50)
        assert kv_cache.pool.num_evictable <= 8
    assert highest < 8 + 2 * 4, "blocks of evicted prefixes are used again before new ones"
    assert kv_cache.num_cached_tokens("", [49] * 50) == 48, "the last prefix is retained"
    assert kv_cache.pool.num_available == 1000


def test_at_least_one_token_is_always_left_to_compute():
    kv_cache = make_kv_cache(20)
    ids = list(range(64))
    kv_cache.free(fill_table(kv_cache, ids))
    assert kv_cache.match_prefix("", ids).num_computed_tokens == 63
    assert kv_cache.match_prefix("", [*ids, 5]).num_computed_tokens == 64


def test_a_partially_matching_block_is_copied():
    kv_cache = make_kv_cache(20)
    ids = list(range(25))
    kv_cache.free(fill_table(kv_cache, ids), ids)
    again = kv_cache.match_prefix("", [*ids, 7, 8, 9])
    assert again.num_computed_tokens == 25
    assert kv_cache.copies == [(1, again.blocks[1])]
    branch = kv_cache.match_prefix("", [*ids[:20], 7, 8, 9])
    assert branch.num_computed_tokens == 20
    within = kv_cache.match_prefix("", [*ids[:5], 7, 8, 9])
    assert within.num_computed_tokens == 5, "a full block matches partially, too"
    assert kv_cache.match_prefix("", ids).num_computed_tokens == 24, "one token is left to compute"


def test_scopes_share_nothing():
    kv_cache = make_kv_cache(20)
    kv_cache.free(fill_table(kv_cache, list(range(40)), "mine"))
    assert kv_cache.match_prefix("yours", list(range(40))).num_computed_tokens == 0
    assert kv_cache.match_prefix("mine", list(range(40))).num_computed_tokens == 32


def test_identical_prefixes_computed_at_the_same_time_are_deduplicated():
    kv_cache = make_kv_cache(20)
    ids = list(range(48))
    tables = [kv_cache.match_prefix("", ids) for _ in range(2)]
    for table in tables:
        kv_cache.reserve(table, 48)
        table.num_computed_tokens = 48
    assert kv_cache.pool.num_free == 14
    for table in tables:
        kv_cache.insert_prefix(table, ids)
    assert tables[0].blocks == tables[1].blocks
    assert kv_cache.pool.num_free == 17


def test_the_least_recently_used_blocks_are_evicted_and_blocks_in_use_are_not():
    kv_cache = make_kv_cache(6)
    old, new = list(range(100, 132)), list(range(200, 232))
    kv_cache.free(fill_table(kv_cache, old))
    kv_cache.free(fill_table(kv_cache, new))
    held_table = kv_cache.match_prefix("", [*new, 0])
    assert kv_cache.pool.num_available == 4
    table = kv_cache.match_prefix("", list(range(64)))
    assert kv_cache.reserve(table, 64)
    assert kv_cache.num_cached_tokens("", [*old, 0]) == 0
    assert kv_cache.num_cached_tokens("", [*new, 0]) == 32, "it is in use"
    assert not kv_cache.reserve(table, 65)
    assert len(table.blocks) == 4, "the table is unchanged"
    kv_cache.free(held_table)
    assert kv_cache.reserve(table, 65)


def test_a_prefix_is_evicted_after_its_continuations():
    kv_cache = make_kv_cache(8)
    for last in range(3):
        kv_cache.free(fill_table(kv_cache, [*range(32), *[last] * 16]))
    kv_cache.tree.evict(2)
    assert kv_cache.num_cached_tokens("", [*range(32), 0]) == 32
    assert [kv_cache.num_cached_tokens("", [*range(32), *[last] * 16, 0]) for last in range(3)] == [32, 32, 48]


def test_a_fork_shares_full_blocks_and_copies_the_last_partial_block():
    kv_cache = make_kv_cache(8)
    table = fill_table(kv_cache, list(range(40)))
    fork_table = kv_cache.fork(table)
    assert fork_table.blocks[:2] == table.blocks[:2]
    assert kv_cache.copies == [(table.blocks[2], fork_table.blocks[2])]
    kv_cache.fork(fill_table(kv_cache, list(range(50, 66))))
    assert len(kv_cache.copies) == 1, "the last block has no tokens beyond the shared ones"


def test_a_fork_returns_none_without_memory_for_the_copy():
    kv_cache = make_kv_cache(3)
    table = fill_table(kv_cache, list(range(40)))
    assert kv_cache.fork(table) is None
    assert kv_cache.pool.ref_count(table.blocks[0]) == 1


def test_discarded_blocks_are_not_cached():
    kv_cache = make_kv_cache(8)
    good = list(range(16))
    kv_cache.free(fill_table(kv_cache, good))
    bad = fill_table(kv_cache, [*good, *[7] * 20])
    own_blocks = set(bad.blocks[1:])
    second = kv_cache.match_prefix("", [*good, 3])
    kv_cache.discard(bad)
    assert all(kv_cache.pool.is_free(block) for block in own_blocks)
    assert not kv_cache.pool.is_free(second.blocks[0])
    assert kv_cache.num_cached_tokens("", [*good, *[7] * 20]) == 16, "blocks of other tables stay"
    kv_cache.free(second)
    assert kv_cache.pool.num_available == 8


def test_discard_does_not_free_blocks_with_other_continuations():
    kv_cache = make_kv_cache(12)
    shared = list(range(32))
    kv_cache.free(fill_table(kv_cache, [*shared, *[5] * 16]))
    bad = fill_table(kv_cache, [*shared, *[7] * 20])
    blocks = list(bad.blocks)
    kv_cache.discard(bad)
    freed = [block for block in blocks if kv_cache.pool.is_free(block)]
    assert len(freed) == 2
    assert kv_cache.match_prefix("", [*shared, 1]).num_computed_tokens == 32
    assert not set(freed) & set(kv_cache.match_prefix("", [*shared, *[5] * 16, 1]).blocks)


def test_the_least_recently_used_scopes_are_evicted():
    kv_cache = KVCacheManager(100_000, lambda source, target: None)
    ids = list(range(20))
    for number in range(5000):
        kv_cache.free(fill_table(kv_cache, ids, str(number)), ids)
    assert len(kv_cache.tree._roots) <= 4097
    assert kv_cache.num_cached_tokens("4999", [*ids, 1]) == 16, "the newest scope is cached"
    assert kv_cache.num_cached_tokens("0", [*ids, 1]) == 0
    assert kv_cache.pool.num_available == 100_000


def test_scopes_without_cached_blocks_take_no_memory():
    kv_cache = make_kv_cache(4)
    for number in range(10_000):
        kv_cache.free(fill_table(kv_cache, list(range(20)), str(number)))
    assert len(kv_cache.tree._roots) < 5000


class Tables(RuleBasedStateMachine):
    """Tables are created, extended, forked and freed in any order."""

    tables = Bundle("tables")

    def __init__(self):
        super().__init__()
        self.kv_cache = make_kv_cache(12)
        self.live = []

    @rule(target=tables, ids=st.lists(st.integers(0, 1), min_size=1, max_size=70), scope=st.sampled_from("ab"))
    def match(self, ids, scope):
        table = self.kv_cache.match_prefix(scope, ids)
        assert table.num_computed_tokens < len(ids)
        assert len(table.blocks) == blocks_for(table.num_computed_tokens)
        entry = [table, ids]
        self.live.append(entry)
        return entry

    @rule(entry=tables, num_tokens=st.integers(1, 40))
    def extend(self, entry, num_tokens):
        table, ids = entry
        length = min(len(ids), table.num_computed_tokens + num_tokens)
        if self.kv_cache.reserve(table, length):
            table.num_computed_tokens = length
            self.kv_cache.insert_prefix(table, ids)

    @rule(target=tables, entry=tables)
    @precondition(lambda self: self.live)
    def fork(self, entry):
        table, ids = entry
        forked = self.kv_cache.fork(table)
        if forked is None:
            return [self.kv_cache.match_prefix("a", [0]), [0]]
        fork_table = [forked, [*ids[: table.num_computed_tokens], 9]]
        self.live.append(fork_table)
        return fork_table

    @rule(entry=consumes(tables))
    def free(self, entry):
        if entry in self.live:
            self.live.remove(entry)
            self.kv_cache.free(*entry)

    @invariant()
    def every_block_is_counted_once(self):
        block_sets = [set(table.blocks) for table, _ in self.live]
        pool = self.kv_cache.pool
        used_blocks = set().union(*block_sets) if block_sets else set()
        assert pool.num_available == pool.num_blocks - len(used_blocks)
        for block in used_blocks:
            assert pool.ref_count(block) == sum(block in blocks for blocks in block_sets)
        assert len(self.kv_cache.tree) <= pool.num_blocks - pool.num_free
        for table, _ in self.live:
            assert len(set(table.blocks)) == len(table.blocks) >= blocks_for(table.num_computed_tokens)


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=100, deadline=None)
@given(token_lists=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=80), min_size=1, max_size=8))
def test_at_least_all_full_blocks_of_the_longest_cached_prefix_are_shared(token_lists):
    kv_cache = make_kv_cache(100)
    earlier = []
    for ids in token_lists:
        table = kv_cache.match_prefix("", ids)
        longest = max((common(ids[:-1], second) for second in earlier), default=0)
        assert longest // BLOCK_SIZE * BLOCK_SIZE <= table.num_computed_tokens <= longest
        kv_cache.reserve(table, len(ids))
        table.num_computed_tokens = len(ids)
        kv_cache.free(table, ids)
        earlier.append(ids)


def common(first, second):
    return next(
        (index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
