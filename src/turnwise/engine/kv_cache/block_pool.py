"""The memory of the KV cache, cut into blocks of tokens with reference counts (Kwon et al. 2023).

A sequence refers to its blocks by number, so keys and values are not copied when sequences start, end or share a
prefix. A block that the prefix tree (`prefix_tree.py`) caches keeps its content when its reference count falls to
zero, until its memory is needed.
"""

from collections import Counter
from collections.abc import Iterable

BLOCK_SIZE = 16  # tokens; the compiled library stores keys in tiles of the same size


class BlockPool:
    """Reference counts of `num_blocks` blocks, which of them are free, and which are cached."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._free = list(range(num_blocks))[::-1]  # lowest first, so that unused memory stays untouched
        self._ref_counts = [0] * num_blocks
        self._is_cached = bytearray(num_blocks)
        self._num_evictable = 0

    @property
    def num_free(self) -> int:
        """Blocks without content."""
        return len(self._free)

    @property
    def num_evictable(self) -> int:
        """Cached blocks with reference count 0."""
        return self._num_evictable

    @property
    def num_available(self) -> int:
        """Blocks that a sequence can get: free ones and evictable ones."""
        return len(self._free) + self._num_evictable

    def allocate(self) -> int:
        """Return a free block with reference count 1. Raises `IndexError` if there is none."""
        block = self._free.pop()
        self._ref_counts[block] = 1
        return block

    def incref(self, blocks: Iterable[int]) -> None:
        """Increment the reference count of every block."""
        for block in blocks:
            if self._is_cached[block] and not self._ref_counts[block]:
                self._num_evictable -= 1
            self._ref_counts[block] += 1

    def decref(self, blocks: Iterable[int]) -> None:
        """Decrement the reference count of every block; at 0 it becomes evictable if cached, else free."""
        for block in blocks:
            self._ref_counts[block] -= 1
            if not self._ref_counts[block]:
                if self._is_cached[block]:
                    self._num_evictable += 1
                else:
                    self._free.append(block)

    def ref_count(self, block: int) -> int:
        """Number of sequences that use a block."""
        return self._ref_counts[block]

    def is_free(self, block: int) -> bool:
        """True if no sequence uses the block and it is not cached."""
        return not self._ref_counts[block] and not self._is_cached[block]

    def cache(self, block: int) -> None:
        """Mark a block in use as cached: it keeps its content at reference count 0."""
        self._is_cached[block] = True

    def uncache(self, block: int) -> None:
        """Undo `cache`; the block becomes free if no sequence uses it."""
        self._is_cached[block] = False
        if not self._ref_counts[block]:
            self._num_evictable -= 1
            self._free.append(block)

    def matches(self, ref_counts: Counter[int], cached: set[int]) -> bool:
        """True if the state equals the reference counts and cached blocks given, which were counted from scratch."""
        blocks = range(self.num_blocks)
        return (
            self._ref_counts == [ref_counts[block] for block in blocks]
            and [block for block in blocks if self._is_cached[block]] == sorted(cached)
            and sorted(self._free) == [block for block in blocks if not ref_counts[block] and block not in cached]
            and self._num_evictable == sum(not ref_counts[block] for block in cached)
        )

    def reset(self, ref_counts: Counter[int]) -> None:
        """Replace the state by these reference counts, with no cached block."""
        self._ref_counts = [ref_counts[block] for block in range(self.num_blocks)]
        self._is_cached = bytearray(self.num_blocks)
        self._free = [block for block in range(self.num_blocks) if not ref_counts[block]][::-1]
        self._num_evictable = 0


def blocks_for(tokens: int) -> int:
    """Number of blocks that hold this many tokens."""
    return -(-tokens // BLOCK_SIZE)
