"""Queries of the text monitor in SQLite, on any connection to its database."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from turnwise.core.monitor_records import ExpectedCount, MonitoredText, SurgeAlert, TopicCount
from turnwise.core.stream_texts import StreamText

TEXT_COLUMNS = "t.number, t.id, t.source, t.time, t.text, t.topics, t.sentiment, t.negative, t.copy_of, t.late"
ALERT_COLUMNS = "id, topic, kind, start, opened, closed, expected, observed, score, summary"

# `SELECT DISTINCT` would read all windows; every step of this reads one entry of the primary key.
_TOPICS = """
    WITH RECURSIVE topics (topic) AS (
        SELECT MIN(topic) FROM monitor_counts
        UNION ALL
        SELECT (SELECT MIN(topic) FROM monitor_counts WHERE topic > topics.topic) FROM topics WHERE topic IS NOT NULL
    )
    SELECT topic FROM topics WHERE topic IS NOT NULL
"""


class SqliteMonitorQueries:
    """The queries of the `MonitorReader` port.

    Args:
        read_transaction: returns a connection for queries.
    """

    def __init__(self, read_transaction: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        self._read_transaction = read_transaction

    def topics(self) -> list[str]:
        """Topics that have counts, in alphabetical order."""
        return [topic for (topic,) in self._rows(_TOPICS)]

    def newest_window(self) -> int | None:
        """Start of the newest window that has counts, in Unix seconds; None if there are no counts."""
        ((start,),) = self._rows("SELECT MAX(start) FROM monitor_counts")
        return None if start is None else int(start)

    def count_sums(self, topic: str | None, start: int, end: int, seconds: int) -> list[TopicCount]:
        """Counts of windows that start in [start, end), added up over multiples of `seconds`, by start and topic."""
        condition, values = ("1", []) if topic is None else ("topic = ?", [topic])
        rows = self._rows(
            # `%` has the sign of `start`, which is negative before 1970
            "SELECT topic, start - (start % ? + ?) % ? AS interval, SUM(texts), SUM(count), SUM(negative)"  # noqa: S608
            f" FROM monitor_counts WHERE {condition} AND start >= ? AND start < ?"
            " GROUP BY interval, topic ORDER BY interval, topic",
            (seconds, seconds, seconds, *values, start, end),
        )
        return [TopicCount(*row) for row in rows]

    def expected_sums(self, topic: str | None, start: int, end: int, seconds: int) -> list[ExpectedCount]:
        """What was expected of windows that start in [start, end), added up like `count_sums`."""
        condition, values = ("1", []) if topic is None else ("topic = ?", [topic])
        rows = self._rows(
            "SELECT topic, start - (start % ? + ?) % ? AS interval, SUM(until - start), SUM(count), SUM(negative),"  # noqa: S608
            " MAX(CASE WHEN until % ? = 0 THEN json_extract(thresholds, ?) END)"
            f" FROM monitor_expectations WHERE {condition} AND start >= ? AND start < ?"
            " GROUP BY interval, topic ORDER BY interval, topic",
            (seconds, seconds, seconds, seconds, f'$."{seconds}"', *values, start, end),
        )
        return [ExpectedCount(*row) for row in rows]

    def alerts(self, limit: int) -> list[SurgeAlert]:
        """The newest alerts, newest first."""
        query = f"SELECT {ALERT_COLUMNS} FROM monitor_alerts ORDER BY opened DESC, number DESC LIMIT ?"  # noqa: S608
        return [SurgeAlert(*row) for row in self._rows(query, (limit,))]

    def alert(self, id: str) -> SurgeAlert | None:
        """An alert; None if there is none with this id."""
        rows = self._rows(f"SELECT {ALERT_COLUMNS} FROM monitor_alerts WHERE id = ?", (id,))  # noqa: S608
        return SurgeAlert(*rows[0]) if rows else None

    def alert_texts(self, id: str) -> list[MonitoredText]:
        """Texts of an alert, in order of their numbers."""
        return self._texts(
            f"SELECT {TEXT_COLUMNS} FROM monitor_alert_texts AS a JOIN monitor_texts AS t ON t.number = a.text"  # noqa: S608
            " WHERE a.alert = ? ORDER BY t.number",
            (id,),
        )

    def _texts(self, query: str, values: Iterable[Any]) -> list[MonitoredText]:
        return [_text(row) for row in self._rows(query, values)]

    def _rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._read_transaction() as connection:
            return connection.execute(query, tuple(values)).fetchall()


def _text(row: tuple[Any, ...]) -> MonitoredText:
    number, id, source, time, text, topics, sentiment, negative, copy_of, late = row
    stream_text = StreamText(id, text, time, source)
    return MonitoredText(number, stream_text, tuple(json.loads(topics)), sentiment, bool(negative), copy_of, bool(late))
