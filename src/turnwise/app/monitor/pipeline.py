"""The text monitor: batches of texts become labels, counts, alerts and events, stored in one transaction each."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from turnwise.app.monitor.alert_recorder import AlertRecorder
from turnwise.app.monitor.alert_texts import ExtractiveSummary, SummaryWriter
from turnwise.app.monitor.busy_store import BusyRetry
from turnwise.app.monitor.detection import Detection
from turnwise.app.monitor.monitor_state import MonitorState
from turnwise.app.monitor.pipeline_settings import PipelineSettings
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.text_intake import LabelledText, TextIntake
from turnwise.app.monitor.topic_rules import TopicFinder
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.core.monitor_records import MonitoredText, SurgeAlert, TopicCount, TopicExpectation
from turnwise.core.monitor_store import MonitorStore
from turnwise.core.stream_texts import Position, StreamText
from turnwise.monitor.surge_detector import WindowExpectation

RETENTION_SECONDS = 3600  # of event time, between two deletions of old records


@dataclass(frozen=True, slots=True)
class ProcessedBatch:
    """What a batch changed.

    Attributes:
        num_texts: number of new texts.
        opened: alerts that opened.
        closed: ids of alerts that closed.
    """

    num_texts: int
    opened: tuple[SurgeAlert, ...]
    closed: tuple[str, ...]


class MonitorPipeline:
    """Processes batches of texts. The result does not depend on how the stream is cut into batches.

    Every batch is one transaction: texts, counts, positions, states of the statistics, alerts and events. After an
    exception nothing of the batch is stored, and the next call continues from the store.

    Attributes:
        busy_retry: decides how long a call waits for a store that another process uses. Default: it raises.

    Args:
        store: the store.
        detection: constructors of the statistics.
        topics: finds topics.
        labeller: labels sentiment.
        settings: the settings.
        urls: receivers of events.
        summaries: describes the texts behind alerts.
        clock: returns Unix seconds.

    Raises:
        UserError: the store counts windows of another length.
    """

    def __init__(
        self,
        store: MonitorStore,
        detection: Detection,
        topics: TopicFinder,
        labeller: SentimentLabeller,
        settings: PipelineSettings | None = None,
        urls: Sequence[str] = (),
        summaries: SummaryWriter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._detection, self._topic_names = store, detection, topics.names
        self._settings = settings or PipelineSettings()
        self.busy_retry = BusyRetry()
        self._intake = TextIntake(store, self.busy_retry, topics, labeller, self._settings.max_future_seconds, clock)
        self._alerts = AlertRecorder(store, self.busy_retry, tuple(urls), summaries or ExtractiveSummary(), clock)
        self._state: MonitorState | None = self._load()

    @property
    def notices(self) -> Sequence[str]:
        """What the owner should know about the stored state, such as that topics are learned anew."""
        return self._current().notices

    @property
    def positions(self) -> Mapping[str, Position]:
        """Stored positions of the sources, by name."""
        return self._current().positions

    @property
    def source_times(self) -> Mapping[str, float]:
        """Time of the newest text of every source, by name."""
        return self._current().source_times

    @property
    def watermark(self) -> float | None:
        """Event time up to which the stream is complete; None before the first text."""
        return self._current().windows.watermark

    def process(
        self,
        texts: Sequence[StreamText],
        positions: Mapping[str, Position] | None = None,
        *,
        num_malformed: int = 0,
        wait_for: float = float("inf"),
    ) -> ProcessedBatch:
        """Process a batch and store all that it changes.

        Args:
            texts: the next texts.
            positions: positions of the sources after this batch.
            num_malformed: number of skipped records.
            wait_for: event time that the slowest source has reached: no window closes before it.

        Raises:
            Unavailable: the store is busy. SaveFailed: it cannot be written. Nothing of the batch is stored.
        """
        state, batch = self._current(), MonitorBatch()
        self._state = None  # until the batch is stored: its changes exist in memory only
        self._alerts.close_abandoned(state.abandoned_topics, int(state.windows.watermark or 0), batch)
        state.abandoned_topics.clear()
        for entry in self._intake.take(texts, state, batch):
            source = entry.text.source
            state.source_times[source] = max(entry.time, state.source_times.get(source, entry.time))
            state.windows.open_from(entry.time)
            self._close_windows(min(entry.time, wait_for), state, batch)
            self._add(entry, state, batch)
        state.count("malformed", num_malformed)
        batch.positions.update(positions or {})
        return self._commit(state, batch)

    def advance(self, now: float) -> ProcessedBatch:
        """Close the windows that end before `now` minus the lateness: no source has more texts before it."""
        state, batch = self._current(), MonitorBatch()
        if not state.windows.closes_at(now):  # an idle monitor writes nothing
            return ProcessedBatch(0, (), ())
        self._state = None
        self._alerts.close_abandoned(state.abandoned_topics, int(state.windows.watermark or 0), batch)
        state.abandoned_topics.clear()
        self._close_windows(now, state, batch)
        return self._commit(state, batch)

    def finish(self) -> ProcessedBatch:
        """Close all windows that have texts, at the end of a recording."""
        end = self._current().windows.last_window_end()
        return self.advance(end + self._settings.windows.lateness_seconds if end is not None else float("-inf"))

    def _add(self, labelled: LabelledText, state: MonitorState, batch: MonitorBatch) -> None:
        """Add one text to the counts and the batch."""
        text, _, topics, sentiment = labelled
        copy_of = state.add_copy(text.text, text.time)
        is_negative = self._intake.is_negative(sentiment)
        copied_topics = state.copied_topics(copy_of, topics)
        num_ignored = state.windows.add(topics, text.time, copied_topics=copied_topics, is_negative=is_negative)
        is_late = num_ignored is None
        entry = MonitoredText(state.take_number(), text, topics, sentiment, is_negative, copy_of, is_late)
        batch.texts.append(entry)
        state.add_counted_topics(entry)
        state.count("texts")
        state.count("copies", copy_of is not None and copied_topics == set(topics))
        state.count("late", is_late)
        state.count("without_topic", not topics)
        state.count("ignored_topics", num_ignored or 0)

    def _close_windows(self, time: float, state: MonitorState, batch: MonitorBatch) -> None:
        """Close windows up to `time` and raise what the detectors find in them."""
        for counts in state.windows.advance(time):
            state.count("windows")
            state.forget(state.windows.take_forgotten())
            for count in counts:
                window = self._detection.make_window(count.topic, count.start, count.count, count.negative)
                detector = state.detector(count.topic)
                for surge in detector.update(window):
                    self._alerts.record(surge, batch)
                self._add_expectation(detector.expectation(count.topic), count, batch)

    def _add_expectation(self, expectation: WindowExpectation | None, count: TopicCount, batch: MonitorBatch) -> None:
        if expectation is None:
            return
        until = count.start + self._settings.windows.window_seconds
        batch.expectations.append(
            TopicExpectation(
                count.topic, count.start, until, expectation.count, expectation.negative, expectation.thresholds
            )
        )

    def _commit(self, state: MonitorState, batch: MonitorBatch) -> ProcessedBatch:
        """Store the batch, if it changes anything."""
        batch.counts = state.windows.take_changed()
        watermark = state.windows.watermark
        batch.id_time = watermark or 0.0
        if watermark is not None and watermark >= state.retention_time + RETENTION_SECONDS:
            state.retention_time = watermark // RETENTION_SECONDS * RETENTION_SECONDS
            batch.retention = self._settings.retention_limits(state.retention_time, state.next_number)
        state.write_to(
            batch, store_copies=state.num_unsaved_texts >= self._settings.snapshot_texts or bool(batch.retention)
        )
        if batch.states or batch.figures or batch.positions:
            self.busy_retry.call(self._store.commit, batch)
        state.positions.update(batch.positions)
        self._state = state
        return ProcessedBatch(len(batch.texts), tuple(batch.opened), tuple(batch.closed))

    def _current(self) -> MonitorState:
        if self._state is None:  # a batch failed
            self._state = self.busy_retry.call(self._load)
        return self._state

    def _load(self) -> MonitorState:
        settings = self._settings
        return MonitorState.load(
            self._store, self._detection, settings.windows, self._topic_names, settings.labelled_by
        )
