"""The text monitor in a SQLite file that another process may write."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from turnwise.core.errors import NotFound, SaveFailed, Unavailable, UserError
from turnwise.core.monitor_store import MonitorReader
from turnwise.store.sqlite.migrations import STEPS
from turnwise.store.sqlite.monitor_queries import SqliteMonitorQueries
from turnwise.store.sqlite.sqlite_errors import failure_reason, is_busy

QUERY_SECONDS = 4.0  # less than the time that the server waits for a store
_BUSY_SECONDS = 1.0
_STEPS_PER_CHECK = 10_000  # of SQLite's virtual machine, between two looks at the clock


class SqliteMonitorReader(SqliteMonitorQueries):
    """The `MonitorReader` port on a SQLite file. Thread-safe.

    Every query has its own read-only connection: it sees the last committed batch, never delays the writer for longer
    than the query, and follows a file that is replaced. It takes no lock file, so a monitor can start at any time.
    """

    def __init__(self, path: Path) -> None:
        """Check the file.

        Raises:
            NotFound: there is no file.
            UserError: the file is no store of this version of Turnwise, or cannot be read.
        """
        super().__init__(self._connect)
        self._path = path
        if not path.is_file():
            raise NotFound(f"There is no store {path} yet: `turnwise monitor run` creates it.")
        try:
            with self._open() as connection:
                version = _version(connection)
                connection.execute("SELECT 1 FROM monitor_counts LIMIT 1" if version == len(STEPS) else "SELECT 1")
        except (OSError, sqlite3.Error) as error:
            reason = failure_reason(error, path)
            raise UserError(f"{path} cannot be used as a monitor store: {reason}.") from error
        if version < len(STEPS):
            raise UserError(
                f"{path} is no monitor store, or one of an older Turnwise, which `turnwise monitor alerts --db {path}` "
                "updates. Nothing was changed."
            )
        if version > len(STEPS):
            raise UserError(f"{path} was written by a newer Turnwise. Update Turnwise, or name another file.")

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._open() as connection:
                if _version(connection) != len(STEPS):
                    raise Unavailable(
                        "The monitor store was changed by another version of Turnwise. Restart the server with that "
                        "version."
                    )
                yield connection
        except (OSError, sqlite3.Error) as error:
            raise self._translate(error) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose statements see one state of the database and end after `QUERY_SECONDS`."""
        deadline = time.monotonic() + QUERY_SECONDS
        address = f"file:{quote(str(self._path.absolute()))}?mode=ro"
        with closing(
            sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        ) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_PER_CHECK)
            connection.execute("BEGIN")
            yield connection

    def _translate(self, error: OSError | sqlite3.Error) -> Unavailable | SaveFailed:
        if not self._path.is_file():
            return Unavailable("The file of the monitor store is missing. `turnwise monitor run` creates it again.")
        if is_busy(error):
            return Unavailable("The monitor store is busy: another process is changing it. Try again soon.")
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return Unavailable(f"The query took longer than {QUERY_SECONDS:g} seconds. Request fewer hours.")
        return SaveFailed(f"The monitor store could not be read: {failure_reason(error, self._path)}.")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


_: type[MonitorReader] = SqliteMonitorReader  # the type checker compares it with the port
