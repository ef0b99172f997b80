"""The cache's memory, cut into blocks of tokens that chats hold, share and give back (Kwon et al. 2023).

Nobody copies keys and values when chats come, go or share a beginning: a chat knows its blocks by number, and a block
knows how many hold it. A block that the prefix tree (`prefix.py`) keeps stays filled when nobody holds it any more,
until its memory is needed.
"""

from collections import Counter
from collections.abc import Iterable

BLOCK_SIZE = 16  # tokens; the compiled library lays keys out in tiles of as many


class BlockPool:
    """Which of `count` blocks are free, held or kept."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count))[::-1]  # the lowest first, so that memory nobody needed stays untouched
        self._holders = [0] * count
        self._kept = bytearray(count)
        self._idle = 0

    @property
    def free(self) -> int:
        """Blocks that hold nothing."""
        return len(self._free)

    @property
    def idle(self) -> int:
        """Blocks that are kept and held by nobody: their memory can be had."""
        return self._idle

    @property
    def available(self) -> int:
        """Blocks that a chat may get."""
        return len(self._free) + self._idle

    def take(self) -> int:
        """A free block, held once. Raises `IndexError` where there is none."""
        block = self._free.pop()
        self._holders[block] = 1
        return block

    def hold(self, blocks: Iterable[int]) -> None:
        """One more holder for each."""
        for block in blocks:
            if self._kept[block] and not self._holders[block]:
                self._idle -= 1
            self._holders[block] += 1

    def drop(self, blocks: Iterable[int]) -> None:
        """One holder less for each."""
        for block in blocks:
            self._holders[block] -= 1
            if not self._holders[block]:
                if self._kept[block]:
                    self._idle += 1
                else:
                    self._free.append(block)

    def ref_count(self, block: int) -> int:
        """How many hold it."""
        return self._holders[block]

    def is_free(self, block: int) -> bool:
        """Whether it holds nothing that anybody wants."""
        return not self._holders[block] and not self._kept[block]

    def keep(self, block: int) -> None:
        """It stays filled when nobody holds it; somebody does now."""
        self._kept[block] = True

    def uncache(self, block: int) -> None:
        """It is not kept any longer."""
        self._kept[block] = False
        if not self._holders[block]:
            self._idle -= 1
            self._free.append(block)

    def matches(self, ref_counts: Counter[int], cached: set[int]) -> bool:
        """Whether the books agree with what tables reference and the prefix tree caches, counted anew."""
        blocks = range(self.count)
        return (
            self._holders == [ref_counts[block] for block in blocks]
            and [block for block in blocks if self._kept[block]] == sorted(cached)
            and sorted(self._free) == [block for block in blocks if not ref_counts[block] and block not in cached]
            and self._idle == sum(not ref_counts[block] for block in cached)
        )

    def reset(self, ref_counts: Counter[int]) -> None:
        """Start the books again: these references, and nothing cached."""
        self._holders = [ref_counts[block] for block in range(self.count)]
        self._kept = bytearray(self.count)
        self._free = [block for block in range(self.count) if not ref_counts[block]][::-1]
        self._idle = 0


def blocks_for(tokens: int) -> int:
    """How many blocks hold so many tokens."""
    return -(-tokens // BLOCK_SIZE)
