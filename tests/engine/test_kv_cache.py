"""Blocks, the tree over them, tables: nothing leaks, scopes share nothing, nothing in use is taken away."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, BlockPool, blocks_for
from turnwise.engine.kv_cache.kv_cache_manager import KVCacheManager


def memory_of(blocks):
    """A memory whose copies are remembered."""
    copies = []
    memory = KVCacheManager(blocks, lambda source, target: copies.append((source, target)))
    memory.copies = copies
    return memory


def grown(memory, ids, scope=""):
    """A table of these tokens, all read and offered to others."""
    table = memory.match_prefix(scope, ids)
    assert memory.reserve(table, len(ids))
    table.length = len(ids)
    memory.insert_prefix(table, ids)
    return table


def test_a_block_is_free_again_when_its_last_holder_drops_it():
    pool = BlockPool(2)
    first, second = pool.allocate(), pool.allocate()
    assert (first, second, pool.num_free) == (0, 1, 0)
    pool.incref([first])
    pool.decref([first])
    assert pool.num_free == 0
    pool.decref([first, second])
    assert pool.num_available == pool.num_free == 2


def test_a_beginning_that_was_read_is_not_read_again():
    memory = memory_of(20)
    talk = list(range(70))
    memory.free(grown(memory, talk))
    assert memory.pool.num_available == 20
    again = memory.match_prefix("", [*talk, 1, 2, 3])
    assert again.length == 64
    branch = memory.match_prefix("", [*talk[:40], 99, 98, 97])
    assert branch.length == 40
    assert branch.blocks[:2] == again.blocks[:2], "the same memory"


def test_a_token_is_always_left_to_read():
    memory = memory_of(20)
    talk = list(range(64))
    memory.free(grown(memory, talk))
    assert memory.match_prefix("", talk).length == 63
    assert memory.match_prefix("", [*talk, 5]).length == 64


def test_the_beginning_of_a_block_is_copied():
    memory = memory_of(20)
    talk = list(range(25))
    memory.free(grown(memory, talk), talk)
    again = memory.match_prefix("", [*talk, 7, 8, 9])
    assert again.length == 25
    assert memory.copies == [(1, again.blocks[1])]
    branch = memory.match_prefix("", [*talk[:20], 7, 8, 9])
    assert branch.length == 20
    within = memory.match_prefix("", [*talk[:5], 7, 8, 9])
    assert within.length == 5, "also of one that is full"
    assert memory.match_prefix("", talk).length == 24, "one is left to read"


def test_scopes_share_nothing():
    memory = memory_of(20)
    memory.free(grown(memory, list(range(40)), "mine"))
    assert memory.match_prefix("yours", list(range(40))).length == 0
    assert memory.match_prefix("mine", list(range(40))).length == 32


def test_two_who_read_the_same_at_once_end_up_with_one_copy():
    memory = memory_of(20)
    talk = list(range(48))
    tables = [memory.match_prefix("", talk) for _ in range(2)]
    for table in tables:
        memory.reserve(table, 48)
        table.length = 48
    assert memory.pool.num_free == 14
    for table in tables:
        memory.insert_prefix(table, talk)
    assert tables[0].blocks == tables[1].blocks
    assert memory.pool.num_free == 17


def test_what_was_used_least_recently_makes_room_and_what_is_in_use_stays():
    memory = memory_of(6)
    old, new = list(range(100, 132)), list(range(200, 232))
    memory.free(grown(memory, old))
    memory.free(grown(memory, new))
    held = memory.match_prefix("", [*new, 0])
    assert memory.pool.num_available == 4
    table = memory.match_prefix("", list(range(64)))
    assert memory.reserve(table, 64)
    assert memory.num_cached_tokens("", [*old, 0]) == 0
    assert memory.num_cached_tokens("", [*new, 0]) == 32, "somebody holds it"
    assert not memory.reserve(table, 65)
    assert len(table.blocks) == 4, "nothing has changed"
    memory.free(held)
    assert memory.reserve(table, 65)


def test_a_beginning_outlives_what_follows_it():
    memory = memory_of(8)
    for last in range(3):
        memory.free(grown(memory, [*range(32), *[last] * 16]))
    memory.tree.evict(2)
    assert memory.num_cached_tokens("", [*range(32), 0]) == 32
    assert [memory.num_cached_tokens("", [*range(32), *[last] * 16, 0]) for last in range(3)] == [32, 32, 48]


def test_a_fork_shares_whole_blocks_and_copies_the_rest():
    memory = memory_of(8)
    table = grown(memory, list(range(40)))
    twin = memory.fork(table)
    assert twin.blocks[:2] == table.blocks[:2]
    assert memory.copies == [(table.blocks[2], twin.blocks[2])]
    memory.fork(grown(memory, list(range(50, 66))))
    assert len(memory.copies) == 1, "there is nothing to copy"


def test_a_fork_without_memory_for_a_copy_is_none():
    memory = memory_of(3)
    table = grown(memory, list(range(40)))
    assert memory.fork(table) is None
    assert memory.pool.ref_count(table.blocks[0]) == 1


def test_what_is_no_good_is_kept_for_nobody():
    memory = memory_of(8)
    good = list(range(16))
    memory.free(grown(memory, good))
    bad = grown(memory, [*good, *[7] * 20])
    mine = set(bad.blocks[1:])
    other = memory.match_prefix("", [*good, 3])
    assert set(memory.discard(bad)) == mine
    assert memory.num_cached_tokens("", [*good, *[7] * 20]) == 16, "what others hold stays"
    memory.free(other)
    assert memory.pool.num_available == 8


def test_what_others_hang_below_is_not_cleared():
    """The blocks that somebody has to clear are those that nobody will read."""
    memory = memory_of(12)
    shared = list(range(32))
    memory.free(grown(memory, [*shared, *[5] * 16]))
    bad = grown(memory, [*shared, *[7] * 20])
    freed = memory.discard(bad)
    assert len(freed) == 2
    assert memory.match_prefix("", [*shared, 1]).length == 32
    assert not set(freed) & set(memory.match_prefix("", [*shared, *[5] * 16, 1]).blocks)


def test_the_scopes_used_least_recently_make_room():
    memory = KVCacheManager(100_000, lambda source, target: None)
    talk = list(range(20))
    for number in range(5000):
        memory.free(grown(memory, talk, str(number)), talk)
    assert len(memory.tree._roots) <= 4097
    assert memory.num_cached_tokens("4999", [*talk, 1]) == 16, "the newest is kept"
    assert memory.num_cached_tokens("0", [*talk, 1]) == 0
    assert memory.pool.num_available == 100_000


def test_scopes_that_nothing_is_kept_of_take_no_memory():
    memory = memory_of(4)
    for number in range(10_000):
        memory.free(grown(memory, list(range(20)), str(number)))
    assert len(memory.tree._roots) < 5000


class Tables(RuleBasedStateMachine):
    """Tables come, grow, fork and go in any order."""

    tables = Bundle("tables")

    def __init__(self):
        super().__init__()
        self.kv_cache = memory_of(12)
        self.match_prefix = []

    @rule(target=tables, ids=st.lists(st.integers(0, 1), min_size=1, max_size=70), scope=st.sampled_from("ab"))
    def begin(self, ids, scope):
        table = self.kv_cache.match_prefix(scope, ids)
        assert table.length < len(ids)
        assert len(table.blocks) == blocks_for(table.length)
        entry = [table, ids]
        self.match_prefix.append(entry)
        return entry

    @rule(entry=tables, by=st.integers(1, 40))
    def read(self, entry, by):
        table, ids = entry
        length = min(len(ids), table.length + by)
        if self.kv_cache.reserve(table, length):
            table.length = length
            self.kv_cache.insert_prefix(table, ids)

    @rule(target=tables, entry=tables)
    @precondition(lambda self: self.match_prefix)
    def branch(self, entry):
        table, ids = entry
        found = self.kv_cache.fork(table)
        if found is None:
            return [self.kv_cache.match_prefix("a", [0]), [0]]
        twin = [found, [*ids[: table.length], 9]]
        self.match_prefix.append(twin)
        return twin

    @rule(entry=consumes(tables))
    def end(self, entry):
        if entry in self.match_prefix:
            self.match_prefix.remove(entry)
            self.kv_cache.free(*entry)

    @invariant()
    def every_block_is_counted_once(self):
        held = [set(table.blocks) for table, _ in self.match_prefix]
        pool = self.kv_cache.pool
        in_use = set().union(*held) if held else set()
        assert pool.num_available == pool.num_blocks - len(in_use)
        for block in in_use:
            assert pool.ref_count(block) == sum(block in blocks for blocks in held)
        assert len(self.kv_cache.tree) <= pool.num_blocks - pool.num_free
        for table, _ in self.match_prefix:
            assert len(set(table.blocks)) == len(table.blocks) >= blocks_for(table.length)


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=100, deadline=None)
@given(talks=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=80), min_size=1, max_size=8))
def test_what_is_shared_are_at_least_the_whole_blocks_that_somebody_read(talks):
    memory = memory_of(100)
    seen = []
    for ids in talks:
        table = memory.match_prefix("", ids)
        most = max((common(ids[:-1], other) for other in seen), default=0)
        assert most // BLOCK_SIZE * BLOCK_SIZE <= table.length <= most
        memory.reserve(table, len(ids))
        table.length = len(ids)
        memory.free(table, ids)
        seen.append(ids)


def common(one, other):
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
