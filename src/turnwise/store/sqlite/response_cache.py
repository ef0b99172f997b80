"""Response cache in a SQLite file."""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from turnwise.core.errors import Unavailable, UserError
from turnwise.core.file_lock import FileLock, LockTimeout
from turnwise.core.files import create_private_file
from turnwise.core.response_cache import ResponseCache

MAX_ENTRIES = 2_000_000  # beyond, the least recently used entries are deleted
BATCH_SIZE = 500  # keys per query, and entries per transaction
WRITE_INTERVAL = 2.0  # seconds between transactions
LOCK_TIMEOUT = 30.0  # seconds to wait for another process


class SqliteResponseCache:
    """The `ResponseCache` port on a file, or in memory.

    Only the owner can read the file, because it holds prompts and answers. Several processes may share it; a file lock
    serialises their writes.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; None keeps the entries in memory.

        Raises:
            UserError: the file cannot be used. All methods raise it.
        """
        self._path = path
        self._lock = FileLock(None)
        self._unwritten: dict[str, str] = {}
        self._last_write = time.monotonic()
        with self._user_errors():
            if path is not None:
                create_private_file(path)
                self._lock = FileLock(path.with_name(f"{path.name}.lock"), LOCK_TIMEOUT)
            self._connection = sqlite3.connect(str(path) if path is not None else ":memory:", timeout=LOCK_TIMEOUT)
        try:
            with self._transaction() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS responses "
                    "(key TEXT PRIMARY KEY, value TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID"
                )
        except BaseException:
            self._release()
            raise

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the cached values of these keys; keys without one are missing in the result."""
        keys = list(keys)
        values: dict[str, Any] = {}
        with self._user_errors():
            for start in range(0, len(keys), BATCH_SIZE):
                batch = keys[start : start + BATCH_SIZE]
                placeholders = ",".join("?" * len(batch))
                query = f"SELECT key, value FROM responses WHERE key IN ({placeholders})"  # noqa: S608
                values.update({key: json.loads(value) for key, value in self._connection.execute(query, batch)})
        if values:
            now = time.time()
            with self._transaction() as connection:
                connection.executemany("UPDATE responses SET used = ? WHERE key = ?", [(now, key) for key in values])
        return values

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store a value; it is written to disk within two seconds."""
        self._unwritten[key] = json.dumps(value, ensure_ascii=False)
        if len(self._unwritten) >= BATCH_SIZE or time.monotonic() - self._last_write > WRITE_INTERVAL:
            self.write()

    def write(self) -> None:
        """Write all stored values to disk."""
        if self._unwritten:
            rows = [(key, value, time.time()) for key, value in self._unwritten.items()]
            with self._transaction() as connection:
                connection.executemany("INSERT OR REPLACE INTO responses VALUES (?, ?, ?)", rows)
            self._unwritten.clear()
        self._last_write = time.monotonic()

    def clear(self) -> None:
        """Delete all values, and remove their content from the file and its log."""
        self._unwritten.clear()
        with self._transaction() as connection:
            connection.execute("DELETE FROM responses")
        with self._user_errors(), self._lock:
            self._connection.execute("VACUUM")
            (is_blocked, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_blocked:
            raise Unavailable("The cache of evaluation responses is in use by another process. Try again soon.")

    def close(self) -> None:
        """Write all stored values, delete the least recently used entries beyond the limit, and close the file."""
        try:
            self.write()
            with self._transaction() as connection:
                (count,) = connection.execute("SELECT count(*) FROM responses").fetchone()
                if count > MAX_ENTRIES:
                    connection.execute(
                        "DELETE FROM responses WHERE key IN (SELECT key FROM responses ORDER BY used LIMIT ?)",
                        (count - MAX_ENTRIES,),
                    )
        finally:
            self._release()

    def _release(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._lock.close)
            # Closing the last connection checkpoints the write-ahead log, which is a write. After a timeout another
            # process has the file open, so that closing here writes nothing.
            with suppress(LockTimeout):
                stack.enter_context(self._lock)
            with suppress(sqlite3.Error):
                self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all statements of the block, or none."""
        with self._user_errors(), self._lock, self._connection:
            yield self._connection

    @contextmanager
    def _user_errors(self) -> Iterator[None]:
        """Turn errors of the file into a `UserError` that says what to do."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
            raise UserError(
                f"The cache of evaluation responses in {self._path or 'memory'} cannot be used: {reason}. "
                "Delete the file, or pass --no-cache to evaluate without it."
            ) from error


_: type[ResponseCache] = SqliteResponseCache  # the type checker compares it with the port
