"""Block tables of sequences: match a cached prefix, grow, fork and free."""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, BlockPool, blocks_for
from turnwise.engine.kv_cache.prefix_tree import Node, PrefixTree

EVICTION_BATCH = 64  # blocks evicted at once, because finding the least recently used ones walks over the tree


class BlockTable:
    """Maps the tokens of one sequence to blocks.

    Attributes:
        blocks: block numbers in order; 32-bit integers, which the compiled library reads in place.
        length: number of tokens whose keys and values are in the cache.
        node: prefix-tree node of its last cached block; the root if none.
        num_cached_blocks: how many of its first blocks are in the prefix tree.
    """

    __slots__ = ("blocks", "node", "num_cached_blocks", "num_computed_tokens")

    def __init__(self, root: Node) -> None:
        self.blocks = array("i")
        self.num_computed_tokens = 0
        self.node = root
        self.num_cached_blocks = 0


class KVCacheManager:
    """A block pool and the prefix tree over it.

    Args:
        num_blocks: size of the pool.
        copy: `copy(source, target)` copies the content of one block over another.
        max_retained_blocks: cached blocks that no sequence uses; the least recently used above this number are evicted.
            Memory of a block is taken when it is first written, so the cache grows with the sequences that run, and
            not up to the size of the pool. Default: all blocks.
    """

    def __init__(
        self, num_blocks: int, copy: Callable[[int, int], None], max_retained_blocks: int | None = None
    ) -> None:
        self._copy = copy
        self._max_retained_blocks = num_blocks if max_retained_blocks is None else max_retained_blocks
        self.pool = BlockPool(num_blocks)
        self.tree = PrefixTree(self.pool)

    def num_cached_tokens(self, scope: str, ids: Sequence[int]) -> int:
        """Number of leading tokens that the prefix cache holds, in whole blocks."""
        return len(self._match(scope, ids)) * BLOCK_SIZE

    def match_prefix(self, scope: str, ids: Sequence[int]) -> BlockTable:
        """A table that starts with the longest cached prefix of `ids`.

        Whole blocks are shared. If a cached block matches only partly, its content is copied to a new block. The last
        token is never taken from the cache, because its logits are needed.
        """
        table = BlockTable(self.tree.root(scope))
        if not ids:
            return table
        if nodes := self._match(scope, ids):
            table.blocks.extend(node.block for node in nodes)
            table.node, table.num_cached_blocks = nodes[-1], len(nodes)
            table.num_computed_tokens = len(nodes) * BLOCK_SIZE
            self.pool.incref(table.blocks)
        start = table.num_computed_tokens
        partial = self.tree.match_partial(table.node, ids[start : min(start + BLOCK_SIZE, len(ids) - 1)])
        if partial is not None:
            child, common = partial
            self.pool.incref([child.block])  # else `reserve` might evict it and use it as the target of the copy
            if self.reserve(table, table.num_computed_tokens + common):
                self._copy(child.block, table.blocks[-1])
                table.num_computed_tokens += common
            self.pool.decref([child.block])
        return table

    def reserve(self, table: BlockTable, length: int) -> bool:
        """Add blocks until the table can hold `length` tokens. Returns False, without any change, if too few exist."""
        missing = blocks_for(length) - len(table.blocks)
        if missing > self.pool.num_available:
            return False
        if missing > self.pool.num_free:
            self.tree.evict(max(missing - self.pool.num_free, EVICTION_BATCH))
        for _ in range(missing):
            table.blocks.append(self.pool.allocate())
        return True

    def insert_prefix(self, table: BlockTable, ids: Sequence[int]) -> None:
        """Add the table's full blocks to the prefix tree. `ids` are the tokens of its sequence."""
        if (table.num_cached_blocks + 1) * BLOCK_SIZE > table.num_computed_tokens:
            return  # no new full block, as in most steps: spare the `touch` below, which walks up to the root
        while (table.num_cached_blocks + 1) * BLOCK_SIZE <= table.num_computed_tokens:
            at = table.num_cached_blocks
            key = tuple(ids[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE])
            node = self.tree.insert(table.node, key, table.blocks[at])
            if node.block != table.blocks[at]:
                # Another sequence has computed the same tokens meanwhile: use its block and free our own.
                self.pool.incref([node.block])
                self.pool.decref([table.blocks[at]])
                table.blocks[at] = node.block
            table.node, table.num_cached_blocks = node, at + 1
        self.tree.touch(table.node)

    def fork(self, table: BlockTable) -> BlockTable | None:
        """A second table for the same tokens, or None if memory is short.

        Full blocks are shared. A last block that is not full is copied, because both sequences will write to it.
        """
        full, rest = divmod(table.num_computed_tokens, BLOCK_SIZE)
        if rest and not self.pool.num_available:
            return None
        forked = BlockTable(table.node)
        forked.blocks.extend(table.blocks[:full])
        forked.num_computed_tokens, forked.num_cached_blocks = table.num_computed_tokens, table.num_cached_blocks
        self.pool.incref(forked.blocks)
        if rest:
            self.reserve(forked, table.num_computed_tokens)
            self._copy(table.blocks[full], forked.blocks[full])
        return forked

    def free(self, table: BlockTable, ids: Sequence[int] | None = None) -> None:
        """Release the table's blocks.

        If `ids` (the tokens of its sequence) are given, its blocks, also a partly filled last one, are first added to
        the prefix tree.
        """
        if ids is not None:
            self.insert_prefix(table, ids)
            full, rest = divmod(table.num_computed_tokens, BLOCK_SIZE)
            if rest:
                key = tuple(ids[full * BLOCK_SIZE : table.num_computed_tokens])
                self.tree.touch(self.tree.insert(table.node, key, table.blocks[full]))
        self.pool.decref(table.blocks)
        del table.blocks[:]
        table.num_computed_tokens = 0
        excess = self.pool.num_evictable - self._max_retained_blocks
        if excess > 0:
            self.tree.evict(max(excess, min(EVICTION_BATCH, self._max_retained_blocks // 4)))

    def discard(self, table: BlockTable) -> None:
        """Release the table's blocks and remove them from the prefix tree, because their content is invalid.

        Stops at the first node that has children or is shared.
        """
        node = table.node
        while node.parent is not None and not node.children and self.pool.ref_count(node.block) == 1:
            self.tree.remove(node)
            node = node.parent
        self.free(table)

    def repair(self, tables: Sequence[tuple[str, BlockTable]]) -> bool:
        """Restore a consistent state after an exception that may have interrupted a change. Returns True if it was
        inconsistent.

        Reference counts are recomputed from `tables`, all tables in use with their scopes. The prefix tree is emptied:
        it is only a cache, and a half-finished change to it cannot be trusted.
        """
        ref_counts = Counter(block for _, table in tables for block in table.blocks)
        if self.tree.is_consistent and self.pool.matches(ref_counts, self.tree.blocks):
            return False
        self.tree.clear()
        self.pool.reset(ref_counts)
        for scope, table in tables:
            table.node, table.num_cached_blocks = self.tree.root(scope), 0
        return True

    def _match(self, scope: str, ids: Sequence[int]) -> list[Node]:
        return self.tree.match(scope, ids[: (len(ids) - 1) // BLOCK_SIZE * BLOCK_SIZE])
