"""One SQLite connection that threads and processes share: transactions with a time limit."""

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

_SQLITE_SECONDS = 1.0  # that SQLite itself waits for its lock
_BUSY = f"The conversation store is busy: another process has been using it for more than {LOCK_SECONDS:g} seconds."


class SqliteDatabase:
    """A connection, a lock for threads and a lock file for processes.

    Writers take turns by the lock file, which also keeps clear of the WAL-reset race in SQLite before 3.51.3. They wait
    for it before they take the connection, so readers do not wait for another process.
    """

    def __init__(self, path: Path | None) -> None:
        """Open `path`, or a store in memory for None. Raises `UserError` when it cannot be one of ours."""
        self._path = path
        self._writers, self._connection_lock = threading.Lock(), threading.Lock()
        self._lock_file = FileLock(None)
        where = ":memory:" if path is None else str(path)
        try:
            if path is not None:
                create_private_file(path)
                self._lock_file = FileLock(path.with_name(f"{path.name}.lock"))
            self._connection = sqlite3.connect(
                where, timeout=_SQLITE_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
            )
        except (OSError, sqlite3.Error) as error:
            raise UserError(
                f"The conversation store {where} cannot be opened: {failure_reason(error, path)}."
            ) from error
        with ExitStack() as on_failure:
            on_failure.callback(self._lock_file.close)
            on_failure.callback(self._connection.close)
            try:
                with self._lock_file:
                    self._prepare(where)
            except (LockTimeout, sqlite3.Error) as error:
                if isinstance(error, LockTimeout) or is_busy(error):
                    raise Unavailable(f"{_BUSY} Its file is {where}; --store names another one.") from error
                raise UserError(
                    f"{where} cannot be used as a conversation store: {failure_reason(error, path)}."
                ) from error
            on_failure.pop_all()

    def _prepare(self, where: str) -> None:
        self._connection.create_function("contains", 2, _contains, deterministic=True)
        self._connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose acknowledged rows on a power cut
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA secure_delete = ON")  # what a person deletes is overwritten, not only unlinked
        migrate(self._connection, where)
        self._connection.execute("PRAGMA journal_mode = WAL")  # last: it writes, and a strange file is left alone

    @contextmanager
    def read_transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries. Raises `Unavailable` where it is not free in time."""
        with _held(self._connection_lock, time.monotonic() + LOCK_SECONDS):
            try:
                yield self._connection
            except sqlite3.Error as error:
                if is_busy(error):
                    raise Unavailable(_BUSY) from error
                reason = failure_reason(error, self._path)
                raise SaveFailed(f"The conversation store could not be read: {reason}.") from error

    @contextmanager
    def write_transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: safe on disk when the block ends well, undone when it does not."""
        deadline = time.monotonic() + LOCK_SECONDS
        with _held(self._writers, deadline), self._file_held(deadline), self._transaction_begun(deadline) as connection:
            try:
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        if connection.in_transaction:  # SQLite has rolled back already where the disk was full
                            connection.execute("ROLLBACK")
                    raise
            except UnicodeEncodeError as error:
                raise InvalidData("The text holds half a surrogate pair, which is not valid Unicode.") from error
            except (sqlite3.Error, OverflowError) as error:
                raise self._not_saved(error) from error

    @contextmanager
    def _file_held(self, deadline: float) -> Iterator[None]:
        try:
            self._lock_file.acquire(max(0.0, deadline - time.monotonic()))
        except LockTimeout as error:
            raise Unavailable(f"{_BUSY} Nothing was changed; try again soon.") from error
        except OSError as error:
            raise self._not_saved(error) from error
        try:
            yield
        finally:
            self._lock_file.release()

    @contextmanager
    def _transaction_begun(self, deadline: float) -> Iterator[sqlite3.Connection]:
        """Begin, again and again while a program that is not ours holds SQLite's lock; readers get in between."""
        while True:
            with _held(self._connection_lock, deadline):
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                except sqlite3.Error as error:
                    if not is_busy(error):
                        raise self._not_saved(error) from error
                    if time.monotonic() >= deadline:
                        raise Unavailable(f"{_BUSY} Nothing was changed; try again soon.") from error
                else:
                    yield self._connection
                    return
            time.sleep(0.02)

    def _not_saved(self, error: Exception) -> SaveFailed:
        return SaveFailed(f"It could not be saved: {failure_reason(error, self._path)}. Nothing was changed.")

    def close(self) -> None:
        """Release the file; safe to call twice. Writes that are under way end first.

        Closing copies the log into the file, which is a write. Where another process holds the lock for too long it
        has the file open as well, and then SQLite does not copy.
        """
        with ExitStack() as stack:
            with suppress(Unavailable):
                stack.enter_context(_held(self._writers, time.monotonic() + LOCK_SECONDS))
                stack.enter_context(_held(self._connection_lock, time.monotonic() + LOCK_SECONDS))
            with suppress(LockTimeout, OSError):
                stack.enter_context(self._lock_file)
            self._connection.close()
        self._lock_file.close()


@contextmanager
def _held(lock: threading.Lock, deadline: float) -> Iterator[None]:
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise Unavailable(f"The conversation store did not answer within {LOCK_SECONDS:g} seconds. Try again soon.")
    try:
        yield
    finally:
        lock.release()


def _contains(text: str, query: str) -> bool:
    return query in text.casefold()
