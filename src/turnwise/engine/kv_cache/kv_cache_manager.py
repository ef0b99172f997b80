"""What a chat needs of the cache: a table that grows, shares what was read before, forks, and is given back."""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, BlockPool, blocks_for
from turnwise.engine.kv_cache.prefix_tree import Node, PrefixTree

EVICTION_BATCH = 64  # blocks; finding those that were used least recently is a walk over the tree


class BlockTable:
    """Where one line of tokens lies: its blocks in order, `length` tokens of it filled.

    `blocks` is an array of 32-bit integers, which the compiled library reads where it is.
    """

    __slots__ = ("blocks", "length", "node", "published")

    def __init__(self, root: Node) -> None:
        self.blocks = array("i")
        self.length = 0
        self.node = root  # in the prefix tree, that of its last block there
        self.published = 0  # blocks that are in the prefix tree: the first so many


class KVCacheManager:
    """A pool of blocks and the prefix tree over it.

    Args:
        blocks: how many there are.
        copy: copies what a block holds over another's.
    """

    def __init__(self, blocks: int, copy: Callable[[int, int], None]) -> None:
        self._copy = copy
        self.pool = BlockPool(blocks)
        self.tree = PrefixTree(self.pool)

    def known(self, scope: str, ids: Sequence[int]) -> int:
        """How many of these tokens would not have to be read."""
        return len(self._match(scope, ids)) * BLOCK_SIZE

    def open(self, scope: str, ids: Sequence[int]) -> BlockTable:
        """A table for these tokens that begins with as many of them as were read before.

        Whole blocks are shared; of one that has only its beginning in common a copy is made. At least one token is left
        to read, for the logits after it.
        """
        table = BlockTable(self.tree.root(scope))
        if not ids:
            return table
        if nodes := self._match(scope, ids):
            table.blocks.extend(node.block for node in nodes)
            table.node, table.published, table.length = nodes[-1], len(nodes), len(nodes) * BLOCK_SIZE
            self.pool.hold(table.blocks)
        begun = self.tree.begun(table.node, ids[table.length : min(table.length + BLOCK_SIZE, len(ids) - 1)])
        if begun is not None:
            child, common = begun
            self.pool.hold([child.block])  # or it might be taken for the copy
            if self.reserve(table, table.length + common):
                self._copy(child.block, table.blocks[-1])
                table.length += common
            self.pool.drop([child.block])
        return table

    def reserve(self, table: BlockTable, length: int) -> bool:
        """Make room for `length` tokens in all; False where memory is short, and then nothing has changed."""
        missing = blocks_for(length) - len(table.blocks)
        if missing > self.pool.available:
            return False
        if missing > self.pool.free:
            self.tree.evict(max(missing - self.pool.free, EVICTION_BATCH))
        for _ in range(missing):
            table.blocks.append(self.pool.take())
        return True

    def insert_prefix(self, table: BlockTable, ids: Sequence[int]) -> None:
        """Let others share the blocks that have been filled; `ids` are the table's tokens."""
        if (table.published + 1) * BLOCK_SIZE > table.length:
            return
        while (table.published + 1) * BLOCK_SIZE <= table.length:
            at = table.published
            node = self.tree.add(table.node, tuple(ids[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE]), table.blocks[at])
            if node.block != table.blocks[at]:  # another chat has read the same meanwhile
                self.pool.hold([node.block])
                self.pool.drop([table.blocks[at]])
                table.blocks[at] = node.block
            table.node, table.published = node, at + 1
        self.tree.used(table.node)

    def fork(self, table: BlockTable) -> BlockTable | None:
        """Another table of the same tokens: whole blocks are shared, a last one that is not full is copied.

        None where there is no memory for that.
        """
        full, rest = divmod(table.length, BLOCK_SIZE)
        if rest and not self.pool.available:
            return None
        twin = BlockTable(table.node)
        twin.blocks.extend(table.blocks[:full])
        twin.length, twin.published = table.length, table.published
        self.pool.hold(twin.blocks)
        if rest:
            self.reserve(twin, table.length)
            self._copy(table.blocks[full], twin.blocks[full])
        return twin

    def close(self, table: BlockTable, ids: Sequence[int] | None = None) -> None:
        """Give its blocks back; those in the prefix tree stay there, and with `ids`, its tokens, all of them do."""
        if ids is not None:
            self.insert_prefix(table, ids)
            full, rest = divmod(table.length, BLOCK_SIZE)
            if rest:
                self.tree.used(
                    self.tree.add(table.node, tuple(ids[full * BLOCK_SIZE : table.length]), table.blocks[full])
                )
        self.pool.drop(table.blocks)
        del table.blocks[:]
        table.length = 0

    def forget(self, table: BlockTable) -> list[int]:
        """Give its blocks back and keep none that may go, for what is in them is no good; those that are free now."""
        node = table.node
        while node.parent is not None and not node.children and self.pool.ref_count(node.block) == 1:
            self.tree.remove(node)
            node = node.parent
        blocks = list(table.blocks)
        self.close(table)
        return [block for block in blocks if self.pool.is_free(block)]

    def repair(self, tables: Sequence[tuple[str, BlockTable]]) -> bool:
        """Make the books right again after an exception may have left a change half done; whether that was needed.

        Reference counts are counted anew from the tables that live, each given with its scope, and the prefix tree is
        emptied: it is only a cache, and a half-changed tree cannot be trusted.
        """
        ref_counts = Counter(block for _, table in tables for block in table.blocks)
        if self.tree.is_consistent and self.pool.matches(ref_counts, self.tree.blocks):
            return False
        self.tree.clear()
        self.pool.reset(ref_counts)
        for scope, table in tables:
            table.node, table.published = self.tree.root(scope), 0
        return True

    def _match(self, scope: str, ids: Sequence[int]) -> list[Node]:
        return self.tree.match(scope, ids[: (len(ids) - 1) // BLOCK_SIZE * BLOCK_SIZE])
