"""Counts texts per topic and window of event time, and decides when a window is complete.

The watermark is the event time up to which the stream is taken to be complete: the newest time of a text minus the
allowed lateness. It never goes back. A window closes when the watermark reaches its end (Akidau et al. 2015, "The
Dataflow Model"). A text of a closed window is late and is not counted.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnwise.core.monitor_records import TopicCount

MAX_TOPICS = 1000


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """Settings of a counter.

    Attributes:
        window_seconds: length of a window.
        lateness_seconds: how much older than the newest text a text may be and still be counted.
        max_gap_seconds: a longer time without any text is an outage: its windows are left out, not counted as empty.
        max_topics: largest number of topics. Further ones are not counted.
        topic_seconds: a topic that was not configured is forgotten after so long without a text.
    """

    window_seconds: int = 300
    lateness_seconds: float = 120.0
    max_gap_seconds: float = 7200.0
    max_topics: int = MAX_TOPICS
    topic_seconds: float = 7 * 86_400.0


class WindowCounter:
    """Counts of the open windows.

    Args:
        settings: the settings.
        topics: topics that have windows from the beginning, also empty ones. Other topics have windows from their
            first text on.
        state: `state()` of an earlier counter; None at the first start.
        counts: stored counts of windows that were open then.
    """

    def __init__(
        self,
        settings: WindowSettings,
        topics: Iterable[str],
        state: Mapping[str, Any] | None = None,
        counts: Iterable[TopicCount] = (),
    ) -> None:
        state = state or {}
        self._settings = settings
        self._watermark: float | None = state.get("watermark")
        self._open_from: int | None = state.get("open_from")
        self._configured = frozenset(topics := tuple(topics))
        # Start of the newest window with a text, by topic.
        self._topics: dict[str, int] = {**dict.fromkeys(topics, 0), **state.get("topics", {})}
        self._forgotten: list[str] = []
        self._counts = {(count.topic, count.start): count for count in counts}
        self._changed: set[tuple[str, int]] = set()

    @property
    def watermark(self) -> float | None:
        """Event time up to which the stream is complete, in Unix seconds; None before the first text."""
        return self._watermark

    def state(self) -> dict[str, Any]:
        """JSON object from which a counter continues, together with the counts of its open windows."""
        return {"watermark": self._watermark, "open_from": self._open_from, "topics": dict(self._topics)}

    def open_from(self, time: float) -> None:
        """Open the first windows for a text of this time. Until the watermark is set, earlier ones can be added."""
        if self._watermark is None:
            first = self._window(time - self._settings.lateness_seconds)
            self._open_from = first if self._open_from is None else min(first, self._open_from)

    def closes_at(self, time: float) -> bool:
        """True if `advance` would close a window."""
        return (
            self._open_from is not None
            and time - self._settings.lateness_seconds >= self._open_from + self._settings.window_seconds
        )

    def advance(self, time: float) -> Iterator[list[TopicCount]]:
        """Move the watermark to `time` minus the lateness, and close windows, those of an outage left out.

        A source that catches up holds the watermark back while others are ahead. So the outages are looked for between
        the counted windows before the watermark, which gives the windows that one source with all texts would give.

        Yields:
            Counts of every topic in a closed window, empty ones included, in the order of the windows.
        """
        watermark = time - self._settings.lateness_seconds
        if (
            self._open_from is None
            or math.isinf(watermark)
            or (self._watermark is not None and watermark <= self._watermark)
        ):
            return
        self._watermark = watermark
        end, last = self._window(watermark), self._window(time)
        if end <= self._open_from:
            return
        for start in sorted({last} | {start for _, start in self._counts if self._open_from <= start < last}):
            # Texts before this window and within the lateness could have followed its first text.
            resumed = min(end, self._window(start - self._settings.lateness_seconds))
            if resumed - self._open_from > self._settings.max_gap_seconds:
                self._open_from = resumed
            yield from self._close_until(min(end, start + self._settings.window_seconds))

    def has_topic(self, topic: str) -> bool:
        """True if texts of the topic are counted: it is not beyond the limit."""
        return topic in self._topics

    def add(
        self, topics: Sequence[str], time: float, *, copied_topics: Collection[str], is_negative: bool
    ) -> int | None:
        """Count a text.

        Args:
            topics: its topics.
            time: its time in Unix seconds.
            copied_topics: topics for which it copies a counted text.
            is_negative: it counts as negative.

        Returns:
            Number of topics that were ignored because there are too many; None if the text is late.
        """
        start = self._window(time)
        if self._open_from is None or start < self._open_from:
            return None
        num_ignored = 0
        for topic in topics:
            if topic not in self._topics and len(self._topics) >= self._settings.max_topics:
                num_ignored += 1
                continue
            self._topics[topic] = max(start, self._topics.get(topic, 0))
            key = (topic, start)
            count = self._counts.get(key) or TopicCount(topic, start, 0, 0, 0)
            single = int(topic not in copied_topics)
            self._counts[key] = TopicCount(
                topic, start, count.texts + 1, count.count + single, count.negative + single * is_negative
            )
            self._changed.add(key)
        return num_ignored

    def take_changed(self) -> list[TopicCount]:
        """Counts that changed since the last call, those of windows closed meanwhile included."""
        changed = [self._counts[key] for key in sorted(self._changed)]
        self._changed.clear()
        self._counts = {key: count for key, count in self._counts.items() if key[1] >= (self._open_from or 0)}
        return changed

    def take_forgotten(self) -> list[str]:
        """Topics that were forgotten since the last call."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def last_window_end(self) -> int | None:
        """End of the newest window that has texts; None if there is none."""
        starts = [start for _, start in self._counts if self._open_from is not None and start >= self._open_from]
        return max(starts) + self._settings.window_seconds if starts else None

    def _close_until(self, end: int) -> Iterator[list[TopicCount]]:
        while self._open_from is not None and self._open_from + self._settings.window_seconds <= end:
            start = self._open_from
            self._open_from = start + self._settings.window_seconds
            self._forget_topics(start)
            yield [self._counts.get((topic, start)) or TopicCount(topic, start, 0, 0, 0) for topic in self._topics]

    def _forget_topics(self, start: int) -> None:
        for topic, last in list(self._topics.items()):
            if last < start - self._settings.topic_seconds and topic not in self._configured:
                del self._topics[topic]
                self._forgotten.append(topic)

    def _window(self, time: float) -> int:
        return int(time // self._settings.window_seconds) * self._settings.window_seconds
