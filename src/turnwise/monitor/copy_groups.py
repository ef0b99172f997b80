"""Groups texts with their near copies."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from turnwise.core.monitor_records import MonitoredText


@dataclass(frozen=True, slots=True)
class TextGroup:
    """A text and its near copies.

    Attributes:
        text: the first of them.
        size: number of texts.
    """

    text: MonitoredText
    size: int


def group_copies(texts: Iterable[MonitoredText]) -> list[TextGroup]:
    """Group texts with their near copies: largest group first, then in order of arrival."""
    roots: dict[int, int] = {}
    first: dict[int, MonitoredText] = {}
    sizes: Counter[int] = Counter()
    for entry in sorted(texts, key=lambda entry: entry.number):
        root = entry.number if entry.copy_of is None else roots.get(entry.copy_of, entry.copy_of)
        roots[entry.number] = root
        first.setdefault(root, entry)
        sizes[root] += 1
    return sorted((TextGroup(first[root], sizes[root]) for root in first), key=lambda group: -group.size)
