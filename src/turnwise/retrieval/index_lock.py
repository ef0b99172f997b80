"""The lock of an index: one process writes it at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnwise.core.errors import Unavailable
from turnwise.core.file_lock import FileLock, LockTimeout


@contextmanager
def lock_index(folder: Path, seconds: float, busy: str) -> Iterator[None]:
    """Hold the lock of the index in a folder, which may be missing; its parent is created.

    Raises:
        Unavailable: another process has the lock for longer than `seconds`. The message begins with `busy`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        try:
            lock.acquire(seconds)
        except LockTimeout as error:
            raise Unavailable(f"{busy} Try again soon.") from error
        yield
    finally:
        lock.close()
