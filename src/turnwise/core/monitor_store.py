"""The ports that store and read the records of the text monitor."""

from collections.abc import Collection
from typing import Any, Protocol

from turnwise.core.monitor_batch import MonitorBatch
from turnwise.core.monitor_records import ExpectedCount, MonitoredText, SurgeAlert, TopicCount
from turnwise.core.stream_texts import Position
from turnwise.core.webhook_deliveries import Delivery, DeliveryState


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
