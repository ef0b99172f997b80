"""Atomic writes: files and directories are written next to the target, synced and renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from turnwise.core.directory_swap import recover_directory, swap_directory
from turnwise.core.errors import SaveFailed


def path_exists(path: Path) -> bool:
    """True if the path exists. False for an invalid path too, such as a name that is too long."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def fsync_directory(folder: Path) -> None:
    """Sync the entries of a directory, so that new names and renames survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def create_private_file(path: Path) -> None:
    """Create a file that only its owner can read, if it is missing. SQLite's side files inherit the mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Sync all files and directories in a directory, and the directory. Symbolic links are not followed."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            continue
        if path.is_file():
            _sync_file(path)
        elif path.is_dir():
            fsync_directory(path)
    fsync_directory(folder)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` atomically: a reader sees the old file or the new one.

    Raises:
        SaveFailed: the write failed; the old file is unchanged.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` at the end of the block. After an exception it is deleted.

    Raises:
        SaveFailed: a write failed, for example because the disk is full; an old file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync_file(temporary)
        temporary.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise SaveFailed(f"Could not write {path}: {error.strerror or error}. Nothing was changed.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes `target` at the end of the block. After an exception it is deleted.

    An existing `target` is replaced once the new directory is complete and synced.

    Raises:
        SaveFailed: a write failed, for example because the disk is full.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        temporary.chmod(0o755)
        yield temporary
        sync_tree(temporary)
        _swap(temporary, target)
    except OSError as error:
        raise SaveFailed(
            f"Could not write {target}: {error.strerror or error}. What was there before is unchanged."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_remains(target: Path) -> None:
    """Delete what killed processes have left beside a file or directory, and restore a directory if necessary.

    Call it while no other process writes `target`.
    """
    recover_directory(target)
    for suffix in ("part", "old"):
        for path in target.parent.glob(f".{target.name}.*.{suffix}"):
            _delete(path)


def remove_remains_below(folder: Path) -> None:
    """Delete what killed processes have left anywhere below `folder`, and restore directories if necessary.

    Call it while no other process writes there.
    """
    for path in sorted(folder.rglob(".*")):
        if path.suffix in (".part", ".old"):
            remove_remains(path.with_name(path.name[1:].rsplit(".", 2)[0]))


def _delete(path: Path) -> None:
    """Delete a file or a directory, as far as possible."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def replace_directory(new: Path, target: Path) -> None:
    """Move the directory `new` to `target`, replacing an existing one atomically. Raises `SaveFailed`."""
    try:
        _swap(new, target)
    except OSError as error:
        raise SaveFailed(f"Could not write {target}: {error.strerror or error}.") from error


def _swap(temporary: Path, target: Path) -> None:
    """Rename `temporary` to `target` and sync the rename."""
    swap_directory(temporary, target)
    fsync_directory(target.parent)
