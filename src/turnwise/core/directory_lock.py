"""A lock file in a directory that one process at a time may write to. The system frees it when the process ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from turnwise.core.errors import SaveFailed

LOCK_NAME = "lock"

if sys.platform == "win32":

    def _try_lock(_descriptor: int) -> bool:
        return True

    def _runs(_pid: int) -> bool:
        return False
else:
    from fcntl import LOCK_EX, LOCK_NB, flock

    def _try_lock(descriptor: int) -> bool:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _runs(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # of another user
            return True
        return True


class DirectoryLocked(Exception):
    """Another process holds the lock.

    Attributes:
        pid: process id of the holder, if known.
    """

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


@contextmanager
def lock_directory(folder: Path) -> Iterator[None]:
    """Hold the lock of a directory. A missing directory is created, and removed again if it is empty at the end.

    Raises:
        DirectoryLocked: another process holds the lock.
        SaveFailed: the directory or the file cannot be created.
    """
    descriptor = None
    try:
        while descriptor is None:
            descriptor = _lock(folder)
    except OSError as error:
        raise SaveFailed(f"Could not write in {folder}: {error.strerror or error}.") from error
    with suppress(OSError):  # on a full disk the lock holds without the id
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    try:
        yield
    finally:
        (folder / LOCK_NAME).unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # not empty, or already deleted
            folder.rmdir()


def is_locked(folder: Path) -> bool:
    """True if a process holds the lock of a directory. Does not disturb a process that takes it."""
    path = folder / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        pid = os.read(descriptor, 20).decode(errors="replace").strip()
        # The lock is only tried while the process runs that wrote its id, so that one that starts finds it free.
        return pid.isdigit() and _runs(int(pid)) and not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Descriptor of the locked file. None if its previous holder deleted the file in the meantime: try again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except FileNotFoundError:
        return None
    if not _try_lock(descriptor):
        text = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise DirectoryLocked(int(text) if text.isdigit() else None)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    os.close(descriptor)
    return None
