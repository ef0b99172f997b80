"""Beginnings that were read before: a radix tree over whole blocks of tokens (Zheng et al. 2024).

A chat that begins as an earlier one did takes that one's blocks instead of reading its tokens again: the next turn of a
conversation, an edited or repeated one, another person under the same instructions. The tokens themselves are the keys,
so nothing is mistaken for something else. Each scope has a tree of its own: how soon an answer begins would otherwise
tell what somebody else has asked.
"""

from collections import OrderedDict
from collections.abc import Sequence

from turnwise.engine.blocks import BLOCK, BlockPool

Key = tuple[int, ...]


class Node:
    """A block in the tree, below the one before it. A root has no parent and stands for no block."""

    __slots__ = ("block", "children", "key", "parent")

    def __init__(self, parent: "Node | None" = None, key: Key = (), block: int = -1) -> None:
        self.parent, self.key, self.block = parent, key, block
        self.children: dict[Key, Node] = {}


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
            self._forget_empty_roots()
        return root

    def match(self, scope: str, ids: Sequence[int]) -> list[Node]:
        """The longest chain of kept blocks that `ids` begin with; they count as used now."""
        node = self._roots.get(scope)
        found: list[Node] = []
        while node is not None:
            start = len(found) * BLOCK
            node = node.children.get(tuple(ids[start : start + BLOCK]))
            if node is not None:
                found.append(node)
        if found:
            self.used(found[-1])
        return found

    def add(self, parent: Node, key: Key, block: int) -> Node:
        """Keep a block below another; where one of the same tokens is kept there already, it is that one.

        `used` has to be said of the last that is added.
        """
        node = parent.children.get(key)
        if node is None:
            node = parent.children[key] = Node(parent, key, block)
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
            if not node.children and not self._pool.holders(node.block):
                self.remove(node)
                count -= 1

    def remove(self, node: Node) -> None:
        """Let go of a leaf."""
        assert node.parent is not None, "a root is no block"
        assert not node.children, "its children would be lost"
        del self._by_use[node]
        del node.parent.children[node.key]
        self._pool.let_go(node.block)

    def _forget_empty_roots(self) -> None:
        """Scopes come and go; those that nothing is kept of take no memory. A chat may still hang on its root."""
        for scope in [scope for scope, root in self._roots.items() if not root.children]:
            del self._roots[scope]
