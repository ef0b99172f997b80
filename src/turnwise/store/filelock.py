"""A lock that processes share, as a file beside what it guards."""

import os
import sys
from pathlib import Path
from types import TracebackType

if sys.platform == "win32":  # SQLite's own locks must do there

    def _take(handle: int) -> None: ...

    def _free(handle: int) -> None: ...

else:
    from fcntl import LOCK_EX, LOCK_UN, flock

    def _take(handle: int) -> None:
        flock(handle, LOCK_EX)

    def _free(handle: int) -> None:
        flock(handle, LOCK_UN)


class FileLock:
    """Held inside a `with` block by one process at a time; freed by the system when the process dies.

    Threads of one process share the handle, so they need a lock of their own around it. Does nothing for None.
    """

    def __init__(self, path: Path | None) -> None:
        self._handle = None if path is None else os.open(path, os.O_CREAT | os.O_RDWR, 0o600)

    def __enter__(self) -> None:
        if self._handle is not None:
            _take(self._handle)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            _free(self._handle)

    def release_file(self) -> None:
        """Close the handle; the lock does nothing from here on."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
