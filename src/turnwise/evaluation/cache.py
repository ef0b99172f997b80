"""What a model said before to the same tokens, so that an evaluation goes on where it was stopped.

A key is a digest of the weights, the arithmetic, the tokens and the parameters, and changes when one of them does.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MOST = 2_000_000  # entries; beyond, those that were used least recently go
TOGETHER = 500  # keys in one question, and answers in one transaction at most
SECONDS = 2.0  # that answers wait to be written together


def key_of(*parts: object) -> str:
    """A digest of all parts."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, default=repr).encode()).hexdigest()


class Cache:
    """A file of answers and scores by key; with no path it forgets all at the end."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._base = sqlite3.connect(str(path) if path is not None else ":memory:", timeout=30)
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = NORMAL")
        self._base.execute(
            "CREATE TABLE IF NOT EXISTS found "
            "(key TEXT PRIMARY KEY, value TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID"
        )
        self._unwritten: dict[str, str] = {}
        self._written = time.monotonic()

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """What is known of these keys."""
        asked, found = list(keys), {}
        for start in range(0, len(asked), TOGETHER):
            part = asked[start : start + TOGETHER]
            marks = ",".join("?" * len(part))
            rows = self._base.execute(f"SELECT key, value FROM found WHERE key IN ({marks})", part).fetchall()  # noqa: S608
            found.update({key: json.loads(value) for key, value in rows})
            self._base.executemany("UPDATE found SET used = ? WHERE key = ?", [(time.time(), key) for key, _ in rows])
        self._base.commit()
        return found

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep something; within two seconds it is on disk."""
        self._unwritten[key] = json.dumps(value, ensure_ascii=False)
        if len(self._unwritten) >= TOGETHER or time.monotonic() - self._written > SECONDS:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        rows = [(key, value, time.time()) for key, value in self._unwritten.items()]
        self._base.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)
        self._base.commit()
        self._unwritten.clear()
        self._written = time.monotonic()

    def close(self) -> None:
        """Write what waits, and let the oldest go where there is too much."""
        self.write()
        (count,) = self._base.execute("SELECT count(*) FROM found").fetchone()
        if count > MOST:
            self._base.execute(
                "DELETE FROM found WHERE key IN (SELECT key FROM found ORDER BY used LIMIT ?)", (count - MOST,)
            )
            self._base.commit()
        self._base.close()
