"""The usage of API keys in SQLite, in the file of the keys."""

from collections.abc import Callable, Mapping
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from turnwise.core.key_usage import USAGE_DAYS, KeyUsageStore, UsageCounts, UsageDay
from turnwise.store.sqlite.key_database import KeyDatabase

_FIRST_VERSION = 4  # of the file that has the table


class SqliteKeyUsageStore:
    """The `KeyUsageStore` port on the file of the keys. The first `add` creates a missing file."""

    def __init__(self, path: Path, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        """Use the file `path`; `today` returns the day in UTC."""
        self._database, self._today = KeyDatabase(path), today

    def add(self, counts: Mapping[UsageDay, UsageCounts]) -> None:
        """Add counts in one transaction, and delete days that are too old."""
        oldest = self._today() - timedelta(days=USAGE_DAYS - 1)
        with self._database.write_transaction() as connection:
            connection.executemany(
                "INSERT INTO key_usage (day, key, requests, prompt_tokens, completion_tokens, errors)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,"
                " prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
                " completion_tokens = completion_tokens + excluded.completion_tokens,"
                " errors = errors + excluded.errors",
                [(day.isoformat(), key, *astuple(usage)) for (day, key), usage in counts.items()],
            )
            connection.execute("DELETE FROM key_usage WHERE day < ?", (oldest.isoformat(),))

    def since(self, first: date) -> list[tuple[UsageDay, UsageCounts]]:
        """The counts of a day and of later ones, by day and name; none if the file is missing."""
        with self._database.read_connection() as opened:
            if opened is None or opened[1] < _FIRST_VERSION:
                return []
            query = (
                "SELECT day, key, requests, prompt_tokens, completion_tokens, errors FROM key_usage WHERE day >= ?"
                " ORDER BY day, key"
            )
            rows = opened[0].execute(query, (first.isoformat(),)).fetchall()
        return [(UsageDay(date.fromisoformat(day), key), UsageCounts(*counts)) for day, key, *counts in rows]


_: type[KeyUsageStore] = SqliteKeyUsageStore  # the type checker compares it with the port
