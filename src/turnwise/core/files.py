"""Files that are either whole or not there: written beside, synced and renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from turnwise.core.directory_swap import swap_directory
from turnwise.core.errors import SaveFailed


def path_exists(path: Path) -> bool:
    """Whether there is something at a path; False also for what cannot be a path, such as a name that is too long."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def fsync_directory(folder: Path) -> None:
    """Make the folder's entries (new names, renames) survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def create_private_file(path: Path) -> None:
    """Make a file that its owner alone can read, where there is none; what SQLite puts beside it inherits the mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never half of it."""
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise SaveFailed(f"Could not write {path}: {error.strerror or error}. Nothing was changed.") from error


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends well and vanishes when it does not.

    An existing `target` is replaced; it stays untouched until the new one is complete and synced.
    Raises `SaveFailed` when the disk refuses, for instance because it is full.
    """
    beside: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        beside.chmod(0o755)
        yield beside
        for path in sorted(beside.rglob("*")):
            if path.is_file():
                _sync_file(path)
            elif path.is_dir():
                fsync_directory(path)
        fsync_directory(beside)
        _swap(beside, target)
    except OSError as error:
        raise SaveFailed(
            f"Could not write {target}: {error.strerror or error}. What was there before is unchanged."
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def replace_directory(complete: Path, target: Path) -> None:
    """Put a complete folder where another may be, which stays until then. Raises `SaveFailed`."""
    try:
        _swap(complete, target)
    except OSError as error:
        raise SaveFailed(f"Could not write {target}: {error.strerror or error}.") from error


def _swap(beside: Path, target: Path) -> None:
    """Rename `beside` to `target`, and make that survive a power cut."""
    swap_directory(beside, target)
    fsync_directory(target.parent)
