"""The state of a text monitor between two batches, and how it is stored and loaded."""

from collections.abc import Iterable, Mapping
from typing import Any

from turnwise.app.monitor.classifier_identity import ClassifierIdentity
from turnwise.app.monitor.copy_topics import CopyTopics
from turnwise.app.monitor.detection import COPY_HOURS, Detection, TopicDetector
from turnwise.app.monitor.window_counter import WindowCounter, WindowSettings
from turnwise.core.errors import UserError
from turnwise.core.monitor_batch import MonitorBatch
from turnwise.core.monitor_records import MonitoredText
from turnwise.core.monitor_store import MonitorStore
from turnwise.core.stream_texts import Position

RELEARN_NOTICE = (
    "The store has detectors of an older Turnwise, which this version cannot continue: the topics are learned anew, "
    "and no alert opens until they are. Alerts, counts and texts are kept; open alerts are closed."
)
RELABEL_NOTICE = (
    "The sentiment is labelled by another classifier than before: the topics are learned anew, and no alert opens "
    "until they are. Alerts, counts and texts are kept; open alerts are closed."
)
_STREAM, _COPIES, _DETECTOR = "stream", "near_copies", "detector:"  # names of stored states


class MonitorState:
    """Everything that the next batch depends on.

    The detectors of topics are stored whenever a window closed. The index of near copies is large, so it is stored
    rarely; a restart loads it and adds the texts that were stored since, which gives the same index.

    Attributes:
        windows: counts of the open windows.
        positions: positions of the sources.
        source_times: time of the newest text of every source.
        next_number: number of the next text.
        retention_time: event time of the last deletion of old records.
        abandoned_topics: topics whose stored detectors cannot be continued: their open alerts have to be closed.
        notices: what the owner should know about the stored state.
    """

    def __init__(self, detection: Detection, windows: WindowCounter, labelled_by: ClassifierIdentity) -> None:
        self.windows = windows
        self.positions: dict[str, Position] = {}
        self.source_times: dict[str, float] = {}
        self.next_number, self.retention_time = 0, 0.0
        self._detection, self._labelled_by = detection, labelled_by
        self._detectors: dict[str, TopicDetector] = {}
        self._detector_states: dict[str, Mapping[str, Any]] = {}  # of detectors that are not open yet
        self._updated: set[str] = set()
        self._forgotten: set[str] = set()
        self._figures: dict[str, int] = {}
        self._changed_figures: set[str] = set()
        self._copies = detection.open_copy_index(None, 0)
        self.abandoned_topics: set[str] = set()
        self.notices: list[str] = []
        self._copy_topics = CopyTopics()
        self._copy_time = 0.0
        self._saved_number = 0
        self._stored_stream: dict[str, Any] = {}

    @classmethod
    def load(
        cls,
        store: MonitorStore,
        detection: Detection,
        settings: WindowSettings,
        topics: Iterable[str],
        labelled_by: ClassifierIdentity,
    ) -> "MonitorState":
        """Continue from a store.

        Topics whose detectors are of an older version, or have learned the labels of another classifier than
        `labelled_by`, are learned anew. Their alerts, counts and texts stay.

        Raises:
            UserError: the store counts windows of another length, is of a newer version, or has learned in another
                time zone.
        """
        states = store.states()
        stream = states.get(_STREAM, {})
        stored_seconds = stream.get("window_seconds", detection.window_seconds)
        if stored_seconds != detection.window_seconds:
            raise UserError(
                f"The store counts windows of {stored_seconds} seconds, the settings say {detection.window_seconds}. "
                "Use the same length, or another store with --db."
            )
        windows = stream.get("windows", {})
        open_from = windows.get("open_from")
        counts = [] if open_from is None else store.counts(None, open_from)
        state = cls(detection, WindowCounter(settings, topics, windows, counts), labelled_by)
        state.positions = store.positions()
        state.source_times = dict(stream.get("source_times", {}))
        state.next_number, state.retention_time = stream.get("next_number", 0), stream.get("retention_time", 0.0)
        state._figures = store.figures()
        state._stored_stream = stream
        state._load_detectors({
            name.removeprefix(_DETECTOR): value for name, value in states.items() if name.startswith(_DETECTOR)
        }, is_relabelled=not (ClassifierIdentity.load(stream) or labelled_by).is_same(labelled_by))  # fmt: skip
        state._load_copies(store, states.get(_COPIES))
        return state

    @property
    def num_unsaved_texts(self) -> int:
        """Number of texts that the stored index of near copies does not have."""
        return self.next_number - self._saved_number

    def detector(self, topic: str) -> TopicDetector:
        """The detector of a topic, which is about to be updated."""
        if topic not in self._detectors:
            self._detectors[topic] = self._detection.open_detector(self._detector_states.pop(topic, None))
        self._updated.add(topic)
        self._forgotten.discard(topic)
        return self._detectors[topic]

    def forget(self, topics: Iterable[str]) -> None:
        """Delete the detectors of topics."""
        for topic in topics:
            self._detectors.pop(topic, None)
            self._detector_states.pop(topic, None)
            self._updated.discard(topic)
            self._forgotten.add(topic)

    def add_copy(self, text: str, time: float) -> int | None:
        """Add the next text to the index of near copies; returns the number of the text that it copies."""
        self._copy_time = max(self._copy_time, time)  # the index expects times that do not go back
        return self._copies.add(text, self._copy_time)

    def copied_topics(self, copy_of: int | None, topics: Iterable[str]) -> set[str]:
        """Those of a text's topics for which a text that it copies was counted."""
        return set() if copy_of is None else self._copy_topics.counted(copy_of, topics)

    def add_counted_topics(self, entry: MonitoredText) -> None:
        """Remember the topics that counted a text, for its copies. `entry` is the last text of `add_copy`."""
        topics = () if entry.is_late else [topic for topic in entry.topics if self.windows.has_topic(topic)]
        self._copy_topics.add(entry.number, entry.copy_of, self._copy_time, topics)

    def take_number(self) -> int:
        """Number of the next text."""
        self.next_number += 1
        return self.next_number - 1

    def count(self, figure: str, number: int = 1) -> None:
        """Add to a total."""
        if number:
            self._figures[figure] = self._figures.get(figure, 0) + number
            self._changed_figures.add(figure)

    def write_to(self, batch: MonitorBatch, *, store_copies: bool) -> None:
        """Add all changes since the last call to a batch."""
        stream = {
            "window_seconds": self._detection.window_seconds,
            **self._labelled_by.state(),
            "windows": self.windows.state(),
            "source_times": dict(self.source_times),
            "next_number": self.next_number,
            "retention_time": self.retention_time,
        }
        if stream != self._stored_stream:
            batch.states[_STREAM] = self._stored_stream = stream
        for topic in sorted(self._updated):
            batch.states[_DETECTOR + topic] = self._detectors[topic].state()
        batch.deleted_states = [_DETECTOR + topic for topic in sorted(self._forgotten)]
        self._updated.clear()
        self._forgotten.clear()
        if store_copies:
            self._saved_number = self.next_number
            batch.states[_COPIES] = {
                "version": self._detection.copies_version, "next_number": self.next_number, "time": self._copy_time,
                "index": self._copies.state(), "topics": self._copy_topics.state(),
            }  # fmt: skip
        batch.figures = {name: self._figures[name] for name in sorted(self._changed_figures)}
        self._changed_figures.clear()

    def _load_detectors(self, stored: Mapping[str, Mapping[str, Any]], *, is_relabelled: bool) -> None:
        version = self._detection.detector_version
        older = {topic for topic, value in stored.items() if _is_older(value, version)}
        self.abandoned_topics = set(stored) if is_relabelled else older
        self._forgotten |= self.abandoned_topics
        self._detector_states = {
            topic: value for topic, value in stored.items() if topic not in self.abandoned_topics
        }  # fmt: skip
        if self.abandoned_topics:
            self.notices.append(RELABEL_NOTICE if is_relabelled else RELEARN_NOTICE)
        for value in list(self._detector_states.values())[:1]:  # settings that do not fit are reported at the start
            self._detection.open_detector(value)

    def _load_copies(self, store: MonitorStore, stored: Mapping[str, Any] | None) -> None:
        if stored is not None and _is_older(stored, self._detection.copies_version):
            self._copy_time = stored["time"]
            first = store.first_text_number(self._copy_time - 3600 * COPY_HOURS)
            self._saved_number = self.next_number if first is None else first
            self._copies = self._detection.open_copy_index(None, self._saved_number)
        elif stored is not None:
            self._copies = self._detection.open_copy_index(stored["index"], 0)
            self._saved_number, self._copy_time = stored["next_number"], stored["time"]
            self._copy_topics = CopyTopics(stored["topics"])
        for entry in store.texts_from(self._saved_number):
            self.add_copy(entry.text.text, entry.text.time)
            self.add_counted_topics(entry)


def _is_older(state: Mapping[str, Any], version: int) -> bool:
    """True if a stored state is of an older version. Raises `UserError` if it is of a newer one."""
    stored = state.get("version", 1)  # states without one were written before versions were stored
    if stored > version:
        raise UserError(
            "The store was written by a newer Turnwise, whose statistics this version cannot continue. "
            "Update Turnwise, or name another store with --db. Nothing was changed."
        )
    return bool(stored < version)
