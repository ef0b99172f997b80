"""Read-only connections to a database file in write-ahead mode: readers never wait for a writer."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from turnwise.core.errors import SaveFailed, Unavailable
from turnwise.store.sqlite.sqlite_errors import failure_reason, is_busy

MAX_IDLE = 4  # connections that stay open; a connection costs more to open than a query takes
_BUSY_SECONDS = 1.0


class ReadConnections:
    """A pool of read-only connections. Thread-safe.

    Args:
        path: the database file, which exists.
        name: what messages call it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._address = f"file:{quote(str(path.absolute()))}?mode=ro"
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection whose queries see one state of the database.

        Raises:
            Unavailable: the database is busy.
            SaveFailed: the database cannot be read.
        """
        connection = None
        try:
            connection = self._take()
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
                connection = None
            if is_busy(error):
                raise Unavailable(f"The {self._name} is busy. Try again soon.") from error
            reason = failure_reason(error, self._path)
            raise SaveFailed(f"The {self._name} could not be read: {reason}.") from error
        finally:
            if connection is not None:
                self._give_back(connection)

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return sqlite3.connect(
            self._address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            with self._lock:
                if not self._is_closed and len(self._idle) < MAX_IDLE:
                    self._idle.append(connection)
                    return
        connection.close()

    def close(self) -> None:
        """Close the idle connections; those in use are closed after their transaction."""
        with self._lock:
            self._is_closed = True
            while self._idle:
                self._idle.pop().close()
