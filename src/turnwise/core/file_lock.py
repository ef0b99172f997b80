"""A lock between processes, stored in files next to the file that it protects."""

import errno
import os
import sys
import time
from pathlib import Path
from types import TracebackType

LOCK_SECONDS = 5.0  # default time limit: a process that is suspended during a write must not block the others
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.01  # seconds between attempts

if sys.platform == "win32":  # SQLite's own locks are the only protection there

    def _try_lock(handle: int) -> bool:
        del handle
        return True

    def _unlock(handle: int) -> None: ...

else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock

    def _try_lock(handle: int) -> bool:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        flock(handle, LOCK_UN)


class LockTimeout(TimeoutError):
    """Another process has held the lock for longer than the time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(errno.ETIMEDOUT, f"another process has been using it for more than {seconds:g} seconds")


class FileLock:
    """A context manager that one process at a time can enter. The system frees the lock when the process dies.

    A second file, NAME.next, is a turnstile: its holder gets the lock next. Without it, a process that writes
    continuously would take the lock again before a waiting process retries.

    Threads of one process share the handles and need a thread lock around it. With `path` None the lock does nothing.
    Entering raises `LockTimeout` if the lock is not free within `seconds`.
    """

    def __init__(self, path: Path | None, seconds: float = LOCK_SECONDS) -> None:
        self.seconds = seconds
        paths = () if path is None else (path.with_name(f"{path.name}.next"), path)
        self._handles = [os.open(file, os.O_CREAT | os.O_RDWR, 0o600) for file in paths]

    def acquire(self, seconds: float | None = None) -> None:
        """Take the lock. Raises `LockTimeout` if it is not free within `seconds` (default: `self.seconds`)."""
        deadline = time.monotonic() + (self.seconds if seconds is None else seconds)
        if not self._handles:
            return
        turnstile, lock = self._handles
        self._wait(turnstile, deadline)
        try:
            self._wait(lock, deadline)
        finally:
            _unlock(turnstile)

    def _wait(self, handle: int, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while not _try_lock(handle):
            if time.monotonic() >= deadline:
                raise LockTimeout(self.seconds)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def release(self) -> None:
        """Free the lock."""
        if self._handles:
            _unlock(self._handles[1])

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def close(self) -> None:
        """Close the files. Afterwards the lock does nothing."""
        while self._handles:
            os.close(self._handles.pop())
