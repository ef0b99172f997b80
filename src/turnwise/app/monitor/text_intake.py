"""Decides which of the texts that arrive are new, and labels them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from turnwise.app.monitor.busy_store import BusyRetry
from turnwise.app.monitor.monitor_state import MonitorState
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.topic_rules import TopicFinder
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.core.monitor_store import MonitorStore
from turnwise.core.stream_texts import StreamText

MAX_FUTURE_SECONDS = 300.0


class LabelledText(NamedTuple):
    """A new text with its labels.

    Attributes:
        text: the text.
        time: its time, or the present if it is dated in the future; Unix seconds.
        topics: its topics.
        sentiment: its label; None without a label or a classifier.
    """

    text: StreamText
    time: float
    topics: tuple[str, ...]
    sentiment: str | None


class TextIntake:
    """Drops texts that have arrived before or are dated in the future, and labels the others.

    Args:
        store: has the ids of earlier texts.
        busy_retry: waits for a store that another process uses.
        topics: finds topics.
        labeller: labels sentiment.
        max_future_seconds: a text that is further in the future is dropped; None: no limit, for recordings.
        clock: returns Unix seconds.
    """

    def __init__(
        self,
        store: MonitorStore,
        busy_retry: BusyRetry,
        topics: TopicFinder,
        labeller: SentimentLabeller,
        max_future_seconds: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._busy_retry, self._topics, self._labeller = store, busy_retry, topics, labeller
        self._max_future_seconds, self._clock = max_future_seconds, clock

    def take(self, texts: Sequence[StreamText], state: MonitorState, batch: MonitorBatch) -> list[LabelledText]:
        """The new texts with their labels. Counts the others; their ids are remembered for longer."""
        fresh = self._drop_repeats(texts, state, batch)
        labels, topics = self._labeller.label(fresh), self._topics_of(fresh)
        # A text that is dated in the future must not close windows that others still add texts to.
        now = self._clock() if self._max_future_seconds is not None else float("inf")
        rows = zip(fresh, topics, labels, strict=True)
        return [LabelledText(text, min(text.time, now), names, label) for text, names, label in rows]

    def is_negative(self, sentiment: str | None) -> bool:
        """True if the label counts as negative."""
        return self._labeller.is_negative(sentiment)

    def _drop_repeats(self, texts: Sequence[StreamText], state: MonitorState, batch: MonitorBatch) -> list[StreamText]:
        stored = self._busy_retry.call(self._store.stored_ids, [text.id for text in texts])
        batch.repeated_ids = sorted(stored)
        fresh, limit = list[StreamText](), self._max_future_seconds
        for text in texts:
            if text.id in stored:
                state.count("duplicates")
            elif limit is not None and text.time > self._clock() + limit:
                state.count("future")
            else:
                stored.add(text.id)
                fresh.append(text)
        return fresh

    def _topics_of(self, texts: Sequence[StreamText]) -> list[tuple[str, ...]]:
        missing = [text.text for text in texts if text.topics is None]
        topics = iter(self._topics.find(missing) if missing else ())
        return [next(topics) if text.topics is None else tuple(dict.fromkeys(text.topics)) for text in texts]
