"""The text monitor in SQLite."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Collection, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from turnwise.core.errors import Unavailable
from turnwise.core.file_lock import FileLock, LockTimeout
from turnwise.core.monitor_batch import MonitorBatch, RetentionLimits
from turnwise.core.monitor_records import MonitoredText, SurgeAlert, TopicCount
from turnwise.core.monitor_store import MonitorStore
from turnwise.core.stream_texts import Position
from turnwise.store.sqlite.database import SqliteDatabase
from turnwise.store.sqlite.monitor_outbox import SqliteOutbox, add_events
from turnwise.store.sqlite.monitor_queries import ALERT_COLUMNS, TEXT_COLUMNS, SqliteMonitorQueries

KEYS_PER_QUERY = 500
COMPRESSION_LEVEL = 1  # of states: JSON with repeated keys shrinks tenfold at any level


class SqliteMonitorStore(SqliteMonitorQueries, SqliteOutbox):
    """The `MonitorStore` port on SQLite. Thread-safe."""

    def __init__(self, path: Path | None) -> None:
        """Open `path`; None: a store in memory. Raises `UserError` if the file is not a store."""
        self._path = path
        self._run_lock = FileLock(None)
        self._database = SqliteDatabase(path, "monitor store", "--db")
        SqliteMonitorQueries.__init__(self, self._database.read_transaction)
        SqliteOutbox.__init__(self, self._database.read_transaction, self._database.write_transaction)

    def claim(self) -> None:
        """Reserve the store for this process until it is closed. Raises `Unavailable` if another monitor runs on it."""
        lock = FileLock(None if self._path is None else self._path.with_name(f"{self._path.name}.monitor"))
        try:
            lock.acquire(0.0)
        except LockTimeout as error:
            lock.close()
            raise Unavailable(f"Another monitor is running on {self._path}. Stop it, or name another file.") from error
        self._run_lock = lock

    def commit(self, batch: MonitorBatch) -> None:
        """Store all changes of a batch in one transaction."""
        with self._database.write_transaction() as connection:
            _add_texts(connection, batch)
            connection.executemany(
                "INSERT OR REPLACE INTO monitor_counts VALUES (?, ?, ?, ?, ?)", map(astuple, batch.counts)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO monitor_expectations VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (entry.topic, entry.start, entry.until, entry.count, entry.negative, _json(entry.thresholds))
                    for entry in batch.expectations
                ],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO monitor_positions VALUES (?, ?)",
                [(source, _json(position)) for source, position in batch.positions.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO monitor_states (name, value) VALUES (?, ?)",
                [(name, _compress(state)) for name, state in batch.states.items()],
            )
            connection.executemany(
                "DELETE FROM monitor_states WHERE name = ?", [(name,) for name in batch.deleted_states]
            )
            connection.executemany("INSERT OR REPLACE INTO monitor_figures VALUES (?, ?)", batch.figures.items())
            _add_alerts(connection, batch)
            add_events(connection, batch.events)
            if batch.retention is not None:
                _delete_old(connection, batch.retention)

    def positions(self) -> dict[str, Position]:
        """Positions of the sources, by name."""
        rows = self._rows("SELECT source, position FROM monitor_positions")
        return {source: json.loads(position) for source, position in rows}

    def states(self) -> dict[str, dict[str, Any]]:
        """Stored states, by name."""
        rows = self._rows("SELECT name, value FROM monitor_states")
        return {name: json.loads(zlib.decompress(value)) for name, value in rows}

    def figures(self) -> dict[str, int]:
        """Totals, by name."""
        return dict(self._rows("SELECT name, value FROM monitor_figures ORDER BY name"))

    def stored_ids(self, ids: Collection[str]) -> set[str]:
        """Those of these ids that are stored."""
        by_digest = {_digest(id): id for id in ids}
        digests, stored = list(by_digest), set[str]()
        for start in range(0, len(digests), KEYS_PER_QUERY):
            keys = digests[start : start + KEYS_PER_QUERY]
            query = f"SELECT id FROM monitor_text_ids WHERE id IN ({','.join('?' * len(keys))})"  # noqa: S608
            stored.update(by_digest[digest] for (digest,) in self._rows(query, keys))
        return stored

    def counts(self, topic: str | None, start: int, end: float = float("inf")) -> list[TopicCount]:
        """Counts of windows that start in [start, end), by start and topic. Topic None: of all topics."""
        condition, values = ("1", []) if topic is None else ("topic = ?", [topic])
        rows = self._rows(
            "SELECT topic, start, texts, count, negative FROM monitor_counts"  # noqa: S608
            f" WHERE {condition} AND start >= ? AND start < ? ORDER BY start, topic",
            (*values, start, end),
        )
        return [TopicCount(*row) for row in rows]

    def open_alerts(self) -> list[SurgeAlert]:
        """Alerts that have not been closed, oldest first."""
        query = f"SELECT {ALERT_COLUMNS} FROM monitor_alerts WHERE closed IS NULL ORDER BY number"  # noqa: S608
        return [SurgeAlert(*row) for row in self._rows(query)]

    def first_text_number(self, time: float) -> int | None:
        """Smallest number of the texts with this time or a later one, in Unix seconds; None if there is none."""
        ((number,),) = self._rows("SELECT MIN(number) FROM monitor_texts WHERE time >= ?", (time,))
        return None if number is None else int(number)

    def texts_from(self, number: int) -> list[MonitoredText]:
        """Texts from this number on, in order."""
        return self._texts(
            f"SELECT {TEXT_COLUMNS} FROM monitor_texts AS t WHERE t.number >= ? ORDER BY t.number",  # noqa: S608
            (number,),
        )

    def topic_texts(
        self, topic: str, start: float, end: float, limit: int, *, is_negative: bool = False
    ) -> list[MonitoredText]:
        """Texts of a topic with a time in [start, end) that are not late, in order of their numbers."""
        return self._texts(
            f"SELECT {TEXT_COLUMNS} FROM monitor_text_topics AS m JOIN monitor_texts AS t ON t.number = m.number"  # noqa: S608
            " WHERE m.topic = ? AND m.time >= ? AND m.time < ? AND t.late = 0 AND t.negative >= ?"
            " ORDER BY t.number LIMIT ?",
            (topic, start, end, is_negative, limit),
        )

    def close(self) -> None:
        """Close the store."""
        self._database.close()
        self._run_lock.close()


def _add_texts(connection: sqlite3.Connection, batch: MonitorBatch) -> None:
    connection.executemany(
        "INSERT INTO monitor_texts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                entry.number, entry.text.id, entry.text.source, entry.text.time, entry.text.text, _json(entry.topics),
                entry.sentiment, entry.is_negative, entry.copy_of, entry.is_late,
            )
            for entry in batch.texts
        ],
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO monitor_text_topics VALUES (?, ?, ?)",
        [(topic, entry.text.time, entry.number) for entry in batch.texts for topic in entry.topics],
    )
    ids = [*(entry.text.id for entry in batch.texts), *batch.repeated_ids]
    connection.executemany(
        "INSERT OR REPLACE INTO monitor_text_ids VALUES (?, ?)", [(_digest(id), batch.id_time) for id in ids]
    )


def _add_alerts(connection: sqlite3.Connection, batch: MonitorBatch) -> None:
    connection.executemany(
        f"INSERT INTO monitor_alerts ({ALERT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        " ON CONFLICT (id) DO NOTHING",
        map(astuple, batch.opened),
    )
    connection.executemany(
        "UPDATE monitor_alerts SET closed = ? WHERE id = ? AND closed IS NULL",
        [(closed, id) for id, closed in batch.closed.items()],
    )
    connection.executemany(
        "INSERT INTO monitor_alert_texts SELECT id, ? FROM monitor_alerts WHERE id = ? ON CONFLICT DO NOTHING",
        [(number, id) for id, numbers in batch.alert_texts.items() for number in numbers],
    )


def _delete_old(connection: sqlite3.Connection, retention: RetentionLimits) -> None:
    old_texts = (
        "SELECT number FROM monitor_texts"
        " WHERE time < ? AND number < ? AND number NOT IN (SELECT text FROM monitor_alert_texts)"
    )
    values = (retention.texts, retention.first_number)
    connection.execute(
        "DELETE FROM monitor_text_topics WHERE (topic, time, number) IN (SELECT topic.value, t.time, t.number"  # noqa: S608
        f" FROM monitor_texts AS t JOIN json_each(t.topics) AS topic WHERE t.number IN ({old_texts}))",
        values,
    )
    connection.execute(f"DELETE FROM monitor_texts WHERE number IN ({old_texts})", values)  # noqa: S608
    connection.execute("DELETE FROM monitor_text_ids WHERE seen < ?", (retention.ids,))
    connection.execute("DELETE FROM monitor_counts WHERE start < ?", (retention.counts,))
    connection.execute("DELETE FROM monitor_expectations WHERE start < ?", (retention.expectations,))
    connection.execute("DELETE FROM monitor_outbox WHERE state = 'delivered' AND created < ?", (retention.ids,))


def _digest(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _compress(state: Mapping[str, Any]) -> bytes:
    return zlib.compress(_json(state).encode(), COMPRESSION_LEVEL)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=dict)


_: type[MonitorStore] = SqliteMonitorStore  # the type checker compares it with the port
