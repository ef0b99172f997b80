"""Records of the text monitor and the ports that store and read them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from turnwise.core.stream_texts import Position, StreamText

DeliveryState = Literal["pending", "delivered", "dead"]
LONGEST_RETRY_SECONDS = 3 * 3600.0  # between two attempts to deliver an event


@dataclass(frozen=True, slots=True)
class MonitoredText:
    """A text with its labels.

    Attributes:
        number: position in the stream, from 0. Every stored text has the next number.
        text: the text.
        topics: its topics.
        sentiment: its label; None without a classifier.
        is_negative: the label counts as negative.
        copy_of: number of the earlier text that it copies.
        is_late: its window was closed when it arrived, so that no window counts it.
    """

    number: int
    text: StreamText
    topics: tuple[str, ...]
    sentiment: str | None = None
    is_negative: bool = False
    copy_of: int | None = None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class TopicCount:
    """Counts of one topic in one window.

    Attributes:
        topic: name of the topic.
        start: start of the window, in Unix seconds.
        texts: number of texts, copies included.
        count: number of texts without copies.
        negative: number of negative texts without copies.
    """

    topic: str
    start: int
    texts: int
    count: int
    negative: int


@dataclass(frozen=True, slots=True)
class TopicExpectation:
    """What the detector expected of a topic in a window.

    Attributes:
        topic: name of the topic.
        start: start of the window, in Unix seconds.
        until: end of the window, in Unix seconds.
        count: expected number of texts without copies.
        negative: expected number of negative texts among those that came.
        thresholds: smallest numbers of texts that open an alert on the volume, by seconds up to the end of the window.
    """

    topic: str
    start: int
    until: int
    count: float
    negative: float
    thresholds: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class ExpectedCount:
    """Sums of what was expected of a topic in an interval.

    Attributes:
        topic: name of the topic.
        start: start of the interval, in Unix seconds.
        seconds: total length of the windows of which something was expected.
        count: expected number of texts without copies.
        negative: expected number of negative texts among those that came.
        threshold: smallest number of texts of the interval that opens an alert on the volume; None if the interval is
            not over, is longer than the detector tests, or has windows of which nothing was expected.
    """

    topic: str
    start: int
    seconds: int
    count: float
    negative: float
    threshold: int | None


@dataclass(frozen=True, slots=True)
class SurgeAlert:
    """A surge of a topic.

    Attributes:
        id: unique id, the same after a restart and in a replay.
        topic: name of the topic.
        kind: "volume" or "negative_share".
        start: estimated beginning of the surge, in Unix seconds.
        opened: end of the window that raised the alert, in Unix seconds.
        closed: end of the window that ended the surge; None while it lasts.
        expected: expected number of texts, or negative share, at the opening.
        observed: observed number or share at the opening.
        score: statistic of the detector at the opening.
        summary: short description of the texts.
    """

    id: str
    topic: str
    kind: str
    start: int
    opened: int
    closed: int | None
    expected: float
    observed: float
    score: float
    summary: str


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event to deliver. A second event with the same id and URL is ignored.

    Attributes:
        id: unique id; receivers recognise repeated deliveries by it.
        url: receiver.
        body: JSON text.
        created: Unix time in seconds.
    """

    id: str
    url: str
    body: str
    created: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """A stored event and its delivery.

    Attributes:
        number: key of the store.
        event: the event.
        state: "pending", "delivered" or "dead" (given up).
        attempts: number of attempts.
        first_attempt: Unix time of the first attempt since it was added or sent again; None before.
        next_attempt: Unix time from which the next attempt is due.
        error: reason of the last failure; empty if there is none.
    """

    number: int
    event: WebhookEvent
    state: DeliveryState
    attempts: int
    first_attempt: float | None
    next_attempt: float
    error: str


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """Event times, in Unix seconds, before which records are deleted.

    Attributes:
        texts: for texts; texts of alerts and texts from `first_number` on are kept.
        ids: for ids of texts, and for delivered events.
        counts: for counts.
        first_number: number of the first text that must be kept.
        expectations: for what was expected of windows.
    """

    texts: float
    ids: float
    counts: float
    first_number: int
    expectations: float = 0.0


@dataclass(slots=True)
class MonitorBatch:
    """All changes of a batch; they are stored together or not at all.

    Attributes:
        texts: new texts.
        repeated_ids: ids of texts that had arrived before.
        id_time: event time at which ids were last seen, for their retention.
        counts: changed counts, complete values.
        expectations: what was expected of windows that closed.
        positions: new positions of sources.
        states: changed states by name, JSON objects.
        deleted_states: names of states to delete.
        figures: changed totals by name, complete values.
        opened: new alerts.
        closed: event times at which alerts closed, by id.
        alert_texts: numbers of the texts of alerts, by id; added to those that are stored.
        events: events to deliver.
        retention: what to delete; None: nothing.
    """

    texts: list[MonitoredText] = field(default_factory=list)
    repeated_ids: list[str] = field(default_factory=list)
    id_time: float = 0.0
    counts: list[TopicCount] = field(default_factory=list)
    expectations: list[TopicExpectation] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    states: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    deleted_states: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)
    opened: list[SurgeAlert] = field(default_factory=list)
    closed: dict[str, int] = field(default_factory=dict)
    alert_texts: dict[str, list[int]] = field(default_factory=dict)
    events: list[WebhookEvent] = field(default_factory=list)
    retention: RetentionLimits | None = None


class MonitorReader(Protocol):
    """Reads the counts and alerts of a text monitor, while another process may write them.

    All methods raise `Unavailable` if the store is busy or cannot be used at present, and `SaveFailed` if it cannot be
    read.
    """

    def topics(self) -> list[str]:
        """Topics that have counts, in alphabetical order."""

    def newest_window(self) -> int | None:
        """Start of the newest window that has counts, in Unix seconds; None if there are no counts."""

    def count_sums(self, topic: str | None, start: int, end: int, seconds: int) -> list[TopicCount]:
        """Counts of windows that start in [start, end), added up over multiples of `seconds`, by start and topic.

        Args:
            topic: name of the topic; None: all topics.
            start: Unix time in seconds.
            end: Unix time in seconds.
            seconds: length of an interval; the intervals begin at multiples of it.
        """

    def expected_sums(self, topic: str | None, start: int, end: int, seconds: int) -> list[ExpectedCount]:
        """What was expected of windows that start in [start, end), added up like `count_sums`."""

    def alerts(self, limit: int) -> list[SurgeAlert]:
        """The newest alerts, newest first."""

    def alert(self, id: str) -> SurgeAlert | None:
        """An alert; None if there is none with this id."""

    def alert_texts(self, id: str) -> list[MonitoredText]:
        """Texts of an alert, in order of their numbers."""

    def close(self) -> None:
        """Close the store."""


class MonitorStore(MonitorReader, Protocol):
    """Stores the records of a text monitor.

    A method that writes returns after the change is synced to disk. All methods raise `Unavailable` if the store is
    busy for too long, and `SaveFailed` if it cannot be read or written.
    """

    def claim(self) -> None:
        """Reserve the store for this process until it is closed. Raises `Unavailable` if another monitor runs on it."""

    def commit(self, batch: MonitorBatch) -> None:
        """Store all changes of a batch in one transaction."""

    def positions(self) -> dict[str, Position]:
        """Positions of the sources, by name."""

    def states(self) -> dict[str, dict[str, Any]]:
        """Stored states, by name."""

    def figures(self) -> dict[str, int]:
        """Totals, by name."""

    def stored_ids(self, ids: Collection[str]) -> set[str]:
        """Those of these ids that are stored."""

    def counts(self, topic: str | None, start: int, end: float = float("inf")) -> list[TopicCount]:
        """Counts of windows that start in [start, end), by start and topic. Topic None: of all topics."""

    def open_alerts(self) -> list[SurgeAlert]:
        """Alerts that have not been closed, oldest first."""

    def first_text_number(self, time: float) -> int | None:
        """Smallest number of the texts with this time or a later one, in Unix seconds; None if there is none."""

    def texts_from(self, number: int) -> list[MonitoredText]:
        """Texts from this number on, in order."""

    def topic_texts(
        self, topic: str, start: float, end: float, limit: int, *, is_negative: bool = False
    ) -> list[MonitoredText]:
        """Texts of a topic with a time in [start, end) that are not late, in order of their numbers.

        Args:
            topic: name of the topic.
            start: Unix time in seconds.
            end: Unix time in seconds.
            limit: maximum number of texts.
            is_negative: only negative texts.
        """

    def due_deliveries(self, now: float, limit: int, *, skipped_urls: Collection[str] = ()) -> list[Delivery]:
        """Pending deliveries whose next attempt is due at `now`, oldest first.

        A delivery that is due later than `now` by more than `LONGEST_RETRY_SECONDS` is due too: the clock was wrong
        when it was added.

        Args:
            now: Unix time in seconds.
            limit: maximum number of deliveries.
            skipped_urls: receivers whose deliveries are left out.
        """

    def update_delivery(self, delivery: Delivery) -> None:
        """Replace the state of a delivery by that of `delivery`, which has the same number."""

    def deliveries(self, state: DeliveryState) -> list[Delivery]:
        """All deliveries in a state, oldest first."""

    def resend(self, event_id: str | None, now: float) -> int:
        """Make dead deliveries pending again: those of one event, or all. Returns their number."""
