"""Radix tree of cached prompt prefixes, one node per block of tokens (Zheng et al. 2024).

A sequence whose first tokens were computed before takes the blocks of that computation: the next turn of a
conversation, a regenerated or edited turn, another user with the same system prompt. Keys are the tokens themselves,
not hashes, so two prefixes cannot be confused. Each scope has its own tree, because response times would otherwise
reveal what somebody else has sent.
"""

from collections import OrderedDict
from collections.abc import Sequence

from turnwise.engine.kv_cache.block_pool import BLOCK_SIZE, BlockPool

Key = tuple[int, ...]


def adapter_scope(adapter: str, scope: str = "") -> str:
    """The scope of an adapter's requests; without `scope`, the prefix that all of them have."""
    return f"{adapter}\n{scope}"


class Node:
    """A cached block; its parent is the block before it. A root has no parent and no block.

    `latest` maps a first token to the child with that token that was added last.
    """

    __slots__ = ("block", "children", "key", "latest", "parent")

    def __init__(self, parent: "Node | None" = None, key: Key = (), block: int = -1) -> None:
        self.parent, self.key, self.block = parent, key, block
        self.children: dict[Key, Node] = {}
        self.latest: dict[int, Node] = {}


class PrefixTree:
    """The cached blocks of a pool, in least-recently-used order.

    Args:
        pool: the blocks.
        max_scopes: number of scopes above which the least recently used ones are dropped.
    """

    def __init__(self, pool: BlockPool, max_scopes: int = 4096) -> None:
        self._pool = pool
        self._roots: OrderedDict[str, Node] = OrderedDict()
        self._max_scopes = max_scopes
        self._by_use: OrderedDict[Node, None] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._by_use)

    def root(self, scope: str) -> Node:
        """The root of a scope's tree; created if missing."""
        root = self._roots.setdefault(scope, Node())
        self._roots.move_to_end(scope)
        if len(self._roots) > self._max_scopes:
            self._drop_scopes(list(self._roots)[: self._max_scopes // 8])  # the least recently used ones
        return root

    def match(self, scope: str, ids: Sequence[int]) -> list[Node]:
        """The longest chain of cached full blocks that `ids` start with. Marks it as used."""
        node = self._roots.get(scope)
        matched: list[Node] = []
        while node is not None:
            start = len(matched) * BLOCK_SIZE
            node = node.children.get(tuple(ids[start : start + BLOCK_SIZE]))
            if node is not None:
                matched.append(node)
        if matched:
            self.touch(matched[-1])
        return matched

    def match_partial(self, node: Node, ids: Sequence[int]) -> tuple[Node, int] | None:
        """A child of `node` whose first tokens equal those of `ids`, and how many are equal. Marks it as used."""
        child = node.latest.get(ids[0]) if ids else None
        if child is None:
            return None
        self.touch(child)
        common = 0
        for cached_id, id in zip(child.key, ids, strict=False):
            if cached_id != id:
                break
            common += 1
        return child, common

    def insert(self, parent: Node, key: Key, block: int) -> Node:
        """Cache a block below `parent`, or return the node that already holds the same tokens there.

        The caller calls `touch` on the last node it inserts. A block that is not full gets no children.
        """
        node = parent.children.get(key)
        if node is None:
            node = parent.children[key] = parent.latest[key[0]] = Node(parent, key, block)
            self._pool.cache(block)
        return node

    def touch(self, node: Node | None) -> None:
        """Mark a node and its ancestors as most recently used.

        Ancestors come last, so that `evict` meets children before parents: a block is useless without those before it.
        """
        while node is not None and node.parent is not None:
            self._by_use[node] = None
            self._by_use.move_to_end(node)
            node = node.parent

    def evict(self, count: int) -> None:
        """Remove up to `count` unreferenced leaves, least recently used first."""
        for node in list(self._by_use):
            if count <= 0:
                return
            if not node.children and not self._pool.ref_count(node.block):
                self.remove(node)
                count -= 1

    def remove(self, node: Node) -> None:
        """Remove a leaf."""
        assert node.parent is not None, "a root has no block"
        assert not node.children, "a node with children cannot be removed"
        del self._by_use[node]
        del node.parent.children[node.key]
        if node.parent.latest.get(node.key[0]) is node:
            del node.parent.latest[node.key[0]]
        self._pool.uncache(node.block)

    @property
    def blocks(self) -> set[int]:
        """The cached blocks."""
        return {node.block for node in self._by_use}

    @property
    def is_consistent(self) -> bool:
        """True if parents and children refer to each other and every node can be evicted."""
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
        """Remove all nodes. The caller resets the pool."""
        self._roots.clear()
        self._by_use.clear()

    def drop_scopes(self, prefix: str) -> None:
        """Empty all scopes whose names start with `prefix`."""
        self._drop_scopes([scope for scope in self._roots if scope.startswith(prefix)])

    def _drop_scopes(self, scopes: Sequence[str]) -> None:
        """Remove the unreferenced nodes of scopes, and forget roots without children."""
        for scope in scopes:
            root = self._roots[scope]
            for node in _descendants(root):
                if not node.children and not self._pool.ref_count(node.block):
                    self.remove(node)
            if not root.children:  # a running sequence may still refer to the root; what it adds is then unreachable
                del self._roots[scope]


def _descendants(node: Node) -> list[Node]:
    """All nodes below one, children before parents. Iterative, because clients determine the depth."""
    nodes: list[Node] = []
    pending = list(node.children.values())
    while pending:
        nodes.append(pending.pop())
        pending.extend(nodes[-1].children.values())
    return nodes[::-1]
