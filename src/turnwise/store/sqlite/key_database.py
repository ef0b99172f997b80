"""The SQLite file of API keys and their usage. Every call opens the file, so threads and processes share no connection.

A lock file serializes writers: with SQLite's own retries some of them would starve.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from turnwise.core.errors import SaveFailed, Unavailable, UserError
from turnwise.core.file_lock import LOCK_SECONDS, FileLock, LockTimeout
from turnwise.core.files import create_private_file
from turnwise.store.sqlite.sqlite_errors import failure_reason, is_busy

VERSION = 4
_KEYS = """
CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL UNIQUE,
    created REAL NOT NULL,
    used REAL,
    rate INTEGER CHECK (rate > 0),
    concurrent INTEGER CHECK (concurrent > 0),
    role TEXT NOT NULL CHECK (role IN ('user', 'agent', 'admin')),
    consent TEXT NOT NULL CHECK (consent IN ('off', 'metadata', 'full'))
) STRICT
"""
# Keys that are older than roles could do everything.
_ADD_ROLES = "ALTER TABLE keys ADD COLUMN role TEXT NOT NULL DEFAULT 'admin' CHECK (role IN ('user', 'agent', 'admin'))"
_ADD_CONSENT = (
    "ALTER TABLE keys ADD COLUMN consent TEXT NOT NULL DEFAULT 'metadata'"
    " CHECK (consent IN ('off', 'metadata', 'full'))"
)
# `day` is a date in ISO 8601. `key` is a name, because a name outlives its key.
_USAGE = """
CREATE TABLE key_usage (
    day TEXT NOT NULL,
    key TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    PRIMARY KEY (day, key)
) STRICT, WITHOUT ROWID
"""
_STEPS = ((_KEYS, _USAGE), (_ADD_ROLES, _ADD_CONSENT, _USAGE), (_ADD_CONSENT, _USAGE), (_USAGE,))  # by file version


class KeyDatabase:
    """The file. The first write creates it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def read_connection(self) -> Iterator[tuple[sqlite3.Connection, int] | None]:
        """A connection, and the version of the file, which reading does not migrate; None if it has no tables."""
        try:
            exists = self._path.exists()
        except OSError as error:
            raise UserError(f"{self._path} cannot be used for keys: {error.strerror or error}.") from error
        if not exists:
            yield None
            return
        with self._open() as connection:
            version = self._version(connection)
            yield (connection, version) if version else None

    @contextmanager
    def write_transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed and synced at the end of the block, rolled back after an exception."""
        try:
            create_private_file(self._path)
            lock = FileLock(self._path.with_name(f"{self._path.name}.lock"))
        except OSError as error:
            raise SaveFailed(f"Could not write {self._path}: {error.strerror or error}.") from error
        with ExitStack() as stack:
            stack.callback(lock.close)
            try:
                stack.enter_context(lock)
            except LockTimeout as error:
                raise self._busy() from error
            connection = stack.enter_context(self._open())
            connection.execute("PRAGMA synchronous = EXTRA")  # a revoked key stays revoked after a power failure
            connection.execute("BEGIN IMMEDIATE")
            try:
                version = self._version(connection)
                if version < VERSION:
                    for statement in _STEPS[version]:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {VERSION}")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
                yield connection
        except sqlite3.Error as error:
            if is_busy(error):
                raise self._busy() from error
            raise UserError(f"{self._path} cannot be used for keys: {failure_reason(error, self._path)}.") from error

    def _version(self, connection: sqlite3.Connection) -> int:
        """Schema version; 0 for an empty file. Raises `UserError` if the file is not a key store."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version > VERSION:
            raise UserError(f"{self._path} was written by a newer Turnwise. Update Turnwise; nothing was changed.")
        if bool(tables) != bool(version) or (version and "keys" not in tables):
            raise UserError(f"{self._path} is a database, but not of keys. Nothing was changed.")
        return int(version)

    def _busy(self) -> Unavailable:
        return Unavailable(
            f"{self._path} is busy: another process has been using it for more than {LOCK_SECONDS:g} seconds. "
            "Try again soon."
        )
