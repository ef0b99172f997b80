"""API keys in a SQLite file. Every call opens the file, so threads and processes share no connection.

A lock file serializes writers: with SQLite's own retries some of them would starve.
"""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from turnwise.core.access import KEY_ROLES, KeyRole
from turnwise.core.api_keys import (
    DEFAULT_KEY_CONSENT,
    KEY_SCHEME,
    VISIBLE_LENGTH,
    ApiKey,
    KeyStore,
    generate_key,
    hash_key,
)
from turnwise.core.collected_answers import CONSENTS, Consent
from turnwise.core.errors import InvalidParameter, NotFound, SaveFailed, Unavailable, UserError, did_you_mean
from turnwise.core.file_lock import LOCK_SECONDS, FileLock, LockTimeout
from turnwise.core.files import create_private_file
from turnwise.store.sqlite.sqlite_errors import failure_reason, is_busy

VERSION = 3
_NAME = re.compile(r"\w[\w .@+-]{0,63}")
_TABLE = """
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
_STEPS = ((_TABLE,), (_ADD_ROLES, _ADD_CONSENT), (_ADD_CONSENT,))  # by the version of the file
_COLUMNS = "name, prefix, digest, created, used, rate, concurrent"


class SqliteKeyStore:
    """The `KeyStore` port on a file. The first `create` creates the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def list(self) -> list[ApiKey]:
        """All keys, oldest first; empty if the file is missing."""
        try:
            if not self._path.exists():
                return []
        except OSError as error:
            raise UserError(f"{self._path} cannot be used for keys: {error.strerror or error}.") from error
        with self._open() as connection:
            version = _version(connection, self._path)
            if version == 0:
                return []
            role = "role" if version > 1 else "'admin'"  # reading migrates nothing
            consent = "consent" if version > 2 else f"'{DEFAULT_KEY_CONSENT}'"
            query = f"SELECT {_COLUMNS}, {role}, {consent} FROM keys ORDER BY number"  # noqa: S608
            rows = connection.execute(query).fetchall()
        return [ApiKey(*row) for row in rows]

    def create(
        self,
        name: str,
        *,
        role: KeyRole = "user",
        requests_per_minute: int | None = None,
        max_concurrent: int | None = None,
        consent: Consent = DEFAULT_KEY_CONSENT,
    ) -> str:
        """Create a key and return it. It cannot be retrieved later.

        Raises:
            InvalidParameter: the name exists or is invalid, there is no such role or consent, or a limit is out of
                range.
            SaveFailed: the write failed.
        """
        _check_name(name)
        if role not in KEY_ROLES:
            raise InvalidParameter("role", f"'{role}' is no role of a key; {did_you_mean(role, KEY_ROLES)}")
        if consent not in CONSENTS:
            raise InvalidParameter("collect", f"'{consent}' is no consent; {did_you_mean(consent, CONSENTS)}")
        for limit, value in (("requests_per_minute", requests_per_minute), ("max_concurrent", max_concurrent)):
            if value is not None and not 1 <= value <= 1_000_000:
                raise InvalidParameter(limit, f"'{limit}' must be between 1 and 1,000,000, got {value}.")
        with self._writing() as connection:
            if connection.execute("SELECT 1 FROM keys WHERE name = ?", (name,)).fetchone():
                raise InvalidParameter("name", f"There is a key named '{name}' already; revoke it, or choose another.")
            key = generate_key()
            while connection.execute("SELECT 1 FROM keys WHERE prefix = ?", (key[:VISIBLE_LENGTH],)).fetchone():
                key = generate_key()
            connection.execute(
                "INSERT INTO keys (name, prefix, digest, created, rate, concurrent, role, consent)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, key[:VISIBLE_LENGTH], hash_key(key), time.time(), requests_per_minute, max_concurrent, role,
                 consent),
            )  # fmt: skip
        return key

    def revoke(self, name_or_prefix: str) -> ApiKey:
        """Delete a key. Raises `NotFound`."""
        column = "prefix" if name_or_prefix.startswith(KEY_SCHEME) else "name"
        matches = [stored for stored in self.list() if getattr(stored, column) == name_or_prefix]
        if not matches:
            displayed = name_or_prefix[:VISIBLE_LENGTH] + "…" if len(name_or_prefix) > 64 else name_or_prefix
            raise NotFound(f"There is no key '{displayed}'. `turnwise keys list` shows names and prefixes.")
        with self._writing() as connection:
            connection.execute("DELETE FROM keys WHERE prefix = ?", (matches[0].prefix,))
        return matches[0]

    def record_use(self, prefix: str, when: float) -> None:
        """Store the time of the last use. Does nothing if the key was deleted."""
        with self._writing() as connection:
            connection.execute("UPDATE keys SET used = MAX(?, COALESCE(used, 0)) WHERE prefix = ?", (when, prefix))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
                yield connection
        except sqlite3.Error as error:
            if is_busy(error):
                raise self._busy() from error
            raise UserError(f"{self._path} cannot be used for keys: {failure_reason(error, self._path)}.") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
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
                version = _version(connection, self._path)
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

    def _busy(self) -> Unavailable:
        return Unavailable(
            f"{self._path} is busy: another process has been using it for more than {LOCK_SECONDS:g} seconds. "
            "Try again soon."
        )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.startswith(KEY_SCHEME):
        raise InvalidParameter(
            "name",
            "A key's name has 1 to 64 characters (letters, digits, spaces, . _ @ + -), starts with a letter or digit "
            f"and not with '{KEY_SCHEME}'.",
        )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Schema version; 0 for an empty file. Raises `UserError` if the file is not a key store."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version > VERSION:
        raise UserError(f"{path} was written by a newer Turnwise. Update Turnwise; nothing was changed.")
    if bool(tables) != bool(version) or (version and "keys" not in tables):
        raise UserError(f"{path} is a database, but not of keys. Nothing was changed.")
    return int(version)


_: type[KeyStore] = SqliteKeyStore  # the type checker compares it with the port
