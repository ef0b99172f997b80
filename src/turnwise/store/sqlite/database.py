"""A SQLite connection shared by threads and processes: transactions with a time limit."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from turnwise.core.errors import InvalidData, SaveFailed, Unavailable, UserError
from turnwise.core.file_lock import LOCK_SECONDS, FileLock, LockTimeout
from turnwise.core.files import create_private_file
from turnwise.store.sqlite.migrations import migrate
from turnwise.store.sqlite.sqlite_errors import failure_reason, is_busy

_SQLITE_SECONDS = 1.0  # timeout of SQLite's own lock


class SqliteDatabase:
    """A connection with a lock for threads and a lock file for processes.

    The lock file serializes writers of all processes, which also avoids the WAL-reset race in SQLite before 3.51.3. A
    writer takes it before the connection, so readers do not wait for another process.
    """

    def __init__(self, path: Path | None, name: str = "conversation store", option: str = "--store") -> None:
        """Open a database.

        Args:
            path: the file; None: a database in memory.
            name: what messages call it.
            option: flag that names another file.

        Raises:
            UserError: the file is no such database.
        """
        self._path, self._name = path, name
        self._busy = f"The {name} is busy: another process has been using it for more than {LOCK_SECONDS:g} seconds."
        self._writer_lock, self._connection_lock = threading.Lock(), threading.Lock()
        self._lock_file = FileLock(None)
        location = ":memory:" if path is None else str(path)
        try:
            if path is not None:
                create_private_file(path)
                self._lock_file = FileLock(path.with_name(f"{path.name}.lock"))
            self._connection = sqlite3.connect(
                location, timeout=_SQLITE_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
            )
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"The {name} {location} cannot be opened: {failure_reason(error, path)}.") from error
        with ExitStack() as on_failure:
            on_failure.callback(self._lock_file.close)
            on_failure.callback(self._connection.close)
            try:
                with self._lock_file:
                    self._prepare(location, option)
            except (LockTimeout, sqlite3.Error) as error:
                if isinstance(error, LockTimeout) or is_busy(error):
                    raise Unavailable(f"{self._busy} Its file is {location}; {option} names another one.") from error
                raise UserError(f"{location} cannot be used as a {name}: {failure_reason(error, path)}.") from error
            on_failure.pop_all()

    def _prepare(self, location: str, option: str) -> None:
        self._connection.create_function("contains", 2, _contains, deterministic=True)
        self._connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose committed rows in a power failure
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA secure_delete = ON")  # overwrite deleted content
        migrate(self._connection, location, option)
        self._connection.execute("PRAGMA journal_mode = WAL")  # last, because it writes: foreign files stay unchanged

    @contextmanager
    def read_transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries. Raises `Unavailable` if it is not free in time."""
        with _acquired(self._connection_lock, time.monotonic() + LOCK_SECONDS):
            try:
                yield self._connection
            except sqlite3.Error as error:
                if is_busy(error):
                    raise Unavailable(self._busy) from error
                reason = failure_reason(error, self._path)
                raise SaveFailed(f"The {self._name} could not be read: {reason}.") from error

    @contextmanager
    def write_transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed and synced at the end of the block, rolled back after an exception."""
        deadline = time.monotonic() + LOCK_SECONDS
        with (
            _acquired(self._writer_lock, deadline),
            self._lock_file_acquired(deadline),
            self._begin_transaction(deadline) as connection,
        ):
            try:
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        if connection.in_transaction:  # SQLite has already rolled back if the disk is full
                            connection.execute("ROLLBACK")
                    raise
            except UnicodeEncodeError as error:
                raise InvalidData("The text contains an unpaired surrogate, which is not valid Unicode.") from error
            except (sqlite3.Error, OverflowError) as error:
                raise self._save_failed(error) from error

    @contextmanager
    def _lock_file_acquired(self, deadline: float) -> Iterator[None]:
        try:
            self._lock_file.acquire(max(0.0, deadline - time.monotonic()))
        except LockTimeout as error:
            raise Unavailable(f"{self._busy} Nothing was changed; try again soon.") from error
        except OSError as error:
            raise self._save_failed(error) from error
        try:
            yield
        finally:
            self._lock_file.release()

    @contextmanager
    def _begin_transaction(self, deadline: float) -> Iterator[sqlite3.Connection]:
        """Begin a transaction. Retries while another program holds SQLite's lock; readers can run between attempts."""
        while True:
            with _acquired(self._connection_lock, deadline):
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                except sqlite3.Error as error:
                    if not is_busy(error):
                        raise self._save_failed(error) from error
                    if time.monotonic() >= deadline:
                        raise Unavailable(f"{self._busy} Nothing was changed; try again soon.") from error
                else:
                    yield self._connection
                    return
            time.sleep(0.02)

    def vacuum(self) -> None:
        """Rewrite the file without unused pages, and empty the write-ahead log. Needs as much free disk as the file.

        Raises:
            SaveFailed: the disk is full, or the file is damaged. Nothing was changed.
            Unavailable: another process is using the file.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        with (
            _acquired(self._writer_lock, deadline),
            self._lock_file_acquired(deadline),
            _acquired(self._connection_lock, deadline),
        ):
            try:
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                if is_busy(error):
                    raise Unavailable(f"{self._busy} Nothing was changed; try again soon.") from error
                raise self._save_failed(error) from error

    def truncate_log(self) -> None:
        """Move the write-ahead log into the file and empty it, so that deleted content is in neither.

        Raises:
            SaveFailed: the disk is full, or the file is damaged.
            Unavailable: another process is using the file.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        with _acquired(self._writer_lock, deadline), self._lock_file_acquired(deadline):
            while True:
                with _acquired(self._connection_lock, deadline):
                    try:
                        (is_blocked, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                    except sqlite3.Error as error:
                        if not is_busy(error):
                            raise self._save_failed(error) from error
                        is_blocked = True
                if not is_blocked:
                    return
                if time.monotonic() >= deadline:
                    raise Unavailable(f"{self._busy} Deleted texts are still in its log; try again soon.")
                time.sleep(0.02)

    def _save_failed(self, error: Exception) -> SaveFailed:
        return SaveFailed(f"It could not be saved: {failure_reason(error, self._path)}. Nothing was changed.")

    def close(self) -> None:
        """Close the connection after running writes. Safe to call twice.

        Closing checkpoints the write-ahead log, which is a write and needs the lock. If another process holds the lock
        for too long, it has the file open, and SQLite does not checkpoint.
        """
        with ExitStack() as stack:
            with suppress(Unavailable):
                stack.enter_context(_acquired(self._writer_lock, time.monotonic() + LOCK_SECONDS))
                stack.enter_context(_acquired(self._connection_lock, time.monotonic() + LOCK_SECONDS))
            with suppress(LockTimeout, OSError):
                stack.enter_context(self._lock_file)
            self._connection.close()
        self._lock_file.close()


@contextmanager
def _acquired(lock: threading.Lock, deadline: float) -> Iterator[None]:
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise Unavailable(f"The store did not answer within {LOCK_SECONDS:g} seconds. Try again soon.")
    try:
        yield
    finally:
        lock.release()


def _contains(text: str, query: str) -> bool:
    return query in text.casefold()
