"""The topics under which texts were counted, so that a near copy is counted for a topic that its original lacks.

"Strong quarterly numbers #Acme" and "Strong quarterly numbers #Globex" are near copies. The second one is the first
text about Globex all the same. An original that was late was counted for no topic.
"""

from collections.abc import Iterable
from typing import Any

from turnwise.app.monitor.detection import COPY_HOURS

MAX_ORIGINALS = 200_000  # the index of near copies holds half as many


class CopyTopics:
    """Counted topics of the originals of the last hours.

    Args:
        entries: `state()` of an earlier object.
    """

    def __init__(self, entries: Iterable[tuple[int, float, list[str]]] = ()) -> None:
        self._entries = {number: (time, frozenset(topics)) for number, time, topics in entries}

    def state(self) -> list[Any]:
        """Number, time and counted topics of every original, as JSON data."""
        return [[number, time, sorted(topics)] for number, (time, topics) in self._entries.items()]

    def counted(self, original: int, topics: Iterable[str]) -> set[str]:
        """Those of the topics for which a copy of `original` was counted. All, if the original is too old."""
        entry = self._entries.get(original)
        return set(topics) if entry is None else set(topics) & entry[1]

    def add(self, number: int, copy_of: int | None, time: float, topics: Iterable[str]) -> None:
        """Add topics under which an original, or a copy of it, was counted.

        Args:
            number: number of the text.
            copy_of: number of the original that it copies; None: it is an original.
            time: time of the text in Unix seconds; it never goes back.
            topics: topics that counted it.
        """
        if copy_of is None:
            self._entries[number] = time, frozenset(topics)
        elif copy_of in self._entries:
            first_time, first_topics = self._entries[copy_of]
            self._entries[copy_of] = first_time, first_topics.union(topics)
        oldest = time - 3600 * COPY_HOURS
        while self._entries:
            first = next(iter(self._entries))
            if len(self._entries) <= MAX_ORIGINALS and self._entries[first][0] >= oldest:
                break
            del self._entries[first]
