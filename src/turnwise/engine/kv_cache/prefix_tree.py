"""Beginnings that were read before: a radix tree over blocks of tokens (Zheng et al. 2024).

A chat that begins as an earlier one did takes that one's blocks instead of reading its tokens again: the next turn of a
conversation, an edited or repeated one, another person under the same instructions. The tokens themselves are the keys,
so nothing is mistaken for something else. Each scope has a tree of its own: how soon an answer begins would otherwise
tell what somebody else has asked.
"""

from collections import OrderedDict
from collections.abc import Sequence

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, BlockPool

Key = tuple[int, ...]


class Node:
    """A block in the tree, below the one before it. A root has no parent and stands for no block.

    `latest` finds among the children, by a first token, the one that was added last.
    """

    __slots__ = ("block", "children", "key", "latest", "parent")

    def __init__(self, parent: "Node | None" = None, key: Key = (), block: int = -1) -> None:
        self.parent, self.key, self.block = parent, key, block
        self.children: dict[Key, Node] = {}
        self.latest: dict[int, Node] = {}


class PrefixTree:
    """The blocks of a pool that are kept for whoever begins the same way."""

    def __init__(self, pool: BlockPool, scopes: int = 4096) -> None:
        self._pool = pool
        self._roots: OrderedDict[str, Node] = OrderedDict()
        self._scopes = scopes
        self._by_use: OrderedDict[Node, None] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._by_use)

    def root(self, scope: str) -> Node:
        """Where a scope's beginnings hang."""
        root = self._roots.setdefault(scope, Node())
        self._roots.move_to_end(scope)
        if len(self._roots) > self._scopes:
            self._forget_scopes()
        return root

    def match(self, scope: str, ids: Sequence[int]) -> list[Node]:
        """The longest chain of kept blocks that `ids` begin with; they count as used now."""
        node = self._roots.get(scope)
        found: list[Node] = []
        while node is not None:
            start = len(found) * BLOCK_SIZE
            node = node.children.get(tuple(ids[start : start + BLOCK_SIZE]))
            if node is not None:
                found.append(node)
        if found:
            self.used(found[-1])
        return found

    def begun(self, node: Node, ids: Sequence[int]) -> tuple[Node, int] | None:
        """A child of `node` that begins as `ids` do, and how many tokens they have in common."""
        child = node.latest.get(ids[0]) if ids else None
        if child is None:
            return None
        self.used(child)
        common = 0
        for one, other in zip(child.key, ids, strict=False):
            if one != other:
                break
            common += 1
        return child, common

    def add(self, parent: Node, key: Key, block: int) -> Node:
        """Keep a block below another; where one of the same tokens is kept there already, it is that one.

        `used` has to be said of the last that is added. A block that is not full has no others below it.
        """
        node = parent.children.get(key)
        if node is None:
            node = parent.children[key] = parent.latest[key[0]] = Node(parent, key, block)
            self._pool.keep(block)
        return node

    def used(self, node: Node | None) -> None:
        """It and all before it are used now; the beginning last, for no block is of use without those before it."""
        while node is not None and node.parent is not None:
            self._by_use[node] = None
            self._by_use.move_to_end(node)
            node = node.parent

    def evict(self, count: int) -> None:
        """Let go of `count` blocks that nobody holds, or of all there are, the least recently used first."""
        for node in list(self._by_use):  # children come before their parents, see `used`
            if count <= 0:
                return
            if not node.children and not self._pool.ref_count(node.block):
                self.remove(node)
                count -= 1

    def remove(self, node: Node) -> None:
        """Let go of a leaf."""
        assert node.parent is not None, "a root is no block"
        assert not node.children, "its children would be lost"
        del self._by_use[node]
        del node.parent.children[node.key]
        if node.parent.latest.get(node.key[0]) is node:
            del node.parent.latest[node.key[0]]
        self._pool.uncache(node.block)

    @property
    def blocks(self) -> set[int]:
        """The blocks that are cached."""
        return {node.block for node in self._by_use}

    @property
    def is_consistent(self) -> bool:
        """Whether every node hangs on its parent, and every child can be evicted."""
        nodes = self._by_use.keys()
        above = [node.parent for node in nodes if node.parent is not None]
        parents = {*self._roots.values(), *nodes, *above}
        return (
            len(above) == len(self.blocks) == len(nodes)
            and all(parent.children.get(node.key) is node for node, parent in zip(nodes, above, strict=True))
            and all(child in nodes for parent in parents for child in parent.children.values())
            and all(parent.parent is None or parent in nodes for parent in parents)
        )

    def clear(self) -> None:
        """Forget everything; the pool's books are the caller's to reset."""
        self._roots.clear()
        self._by_use.clear()

    def _forget_scopes(self) -> None:
        """Let go of what was kept in the scopes that were used least recently, and of empty ones."""
        for scope, root in list(self._roots.items())[: self._scopes // 8]:
            for node in _below(root):
                if not node.children and not self._pool.ref_count(node.block):
                    self.remove(node)
            if not root.children:  # a chat may hang on it yet: what it reads is then kept for nobody
                del self._roots[scope]


def _below(node: Node) -> list[Node]:
    """All nodes below one, children before their parents. Iterative: clients choose how deep the tree is."""
    found: list[Node] = []
    pending = list(node.children.values())
    while pending:
        found.append(pending.pop())
        pending.extend(found[-1].children.values())
    return found[::-1]
