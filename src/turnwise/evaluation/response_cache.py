"""What a model said before to the same tokens, so that an evaluation goes on where it was stopped.

A key is a digest of the weights, the arithmetic, the tokens and the parameters, and changes when one of them does.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from turnwise.core.errors import UserError
from turnwise.core.file_lock import FileLock, LockTimeout
from turnwise.core.files import create_private_file

MOST = 2_000_000  # entries; beyond, those that were used least recently go
TOGETHER = 500  # keys in one question, and answers in one transaction at most
SECONDS = 2.0  # that answers wait to be written together
SECONDS_BUSY = 30.0  # that a file may be in somebody else's use


def cache_key(*parts: object) -> str:
    """A digest of all parts."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, default=repr).encode()).hexdigest()


class ResponseCache:
    """A file of answers and scores by key; with no path it forgets all at the end.

    Its owner alone can read the file, since answers tell what was asked. Processes that share it take turns to write.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or make the file. Raises `UserError`, as every method does, where it cannot be used."""
        self._path = path
        self._lock = FileLock(None)
        self._unwritten: dict[str, str] = {}
        self._written = time.monotonic()
        with self._told():
            if path is not None:
                create_private_file(path)
                self._lock = FileLock(path.with_name(f"{path.name}.lock"), SECONDS_BUSY)
            self._base = sqlite3.connect(str(path) if path is not None else ":memory:", timeout=SECONDS_BUSY)
        try:
            with self._writing() as base:
                base.execute("PRAGMA journal_mode = WAL")
                base.execute("PRAGMA synchronous = NORMAL")
                base.execute(
                    "CREATE TABLE IF NOT EXISTS found "
                    "(key TEXT PRIMARY KEY, value TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID"
                )
        except BaseException:
            self._release()
            raise

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """What is known of these keys."""
        asked, found = list(keys), {}
        with self._told():
            for start in range(0, len(asked), TOGETHER):
                part = asked[start : start + TOGETHER]
                marks = ",".join("?" * len(part))
                rows = self._base.execute(f"SELECT key, value FROM found WHERE key IN ({marks})", part).fetchall()  # noqa: S608
                found.update({key: json.loads(value) for key, value in rows})
        if found:
            now = time.time()
            with self._writing() as base:
                base.executemany("UPDATE found SET used = ? WHERE key = ?", [(now, key) for key in found])
        return found

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep something; within two seconds it is on disk."""
        self._unwritten[key] = json.dumps(value, ensure_ascii=False)
        if len(self._unwritten) >= TOGETHER or time.monotonic() - self._written > SECONDS:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        if self._unwritten:
            rows = [(key, value, time.time()) for key, value in self._unwritten.items()]
            with self._writing() as base:
                base.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)
            self._unwritten.clear()
        self._written = time.monotonic()

    def close(self) -> None:
        """Write what waits, and let the oldest go where there is too much. The file is released whatever happens."""
        try:
            self.write()
            with self._writing() as base:
                (count,) = base.execute("SELECT count(*) FROM found").fetchone()
                if count > MOST:
                    base.execute(
                        "DELETE FROM found WHERE key IN (SELECT key FROM found ORDER BY used LIMIT ?)", (count - MOST,)
                    )
        finally:
            self._release()

    def _release(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._lock.close)
            with suppress(LockTimeout):  # whoever holds the lock has the file open, and then closing writes nothing
                stack.enter_context(self._lock)  # closing checkpoints the log, which is a write
            with suppress(sqlite3.Error):
                self._base.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All that happens within is written, or nothing of it."""
        with self._told(), self._lock, self._base:
            yield self._base

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong with the file, as a sentence that says what to do."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
            raise UserError(
                f"The answers that evaluations keep in {self._path or 'memory'} cannot be used: {reason}. "
                "The file may be deleted; --no-cache does without it."
            ) from error
