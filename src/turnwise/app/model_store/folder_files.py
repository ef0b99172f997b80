"""The files of a model's folder: listed with their hashes, and cleared."""

import hashlib
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from turnwise.app.model_store.stored_model import StoredFile
from turnwise.core.directory_lock import LOCK_NAME
from turnwise.models.stored_models import SOURCE_FILE


def clear_folder(folder: Path, *, keep: str = "") -> None:
    """Delete everything in a folder except its lock and the entry `keep`."""
    for path in folder.iterdir():
        if path.name in (LOCK_NAME, keep):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_other_files(folder: Path, paths: Collection[str]) -> None:
    """Delete the files of a folder whose relative paths are not in `paths`, and the folders that become empty."""
    for path in sorted(folder.rglob("*"), reverse=True):  # the content of a folder before the folder
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # it is not empty
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in paths:
            path.unlink()


def list_files(folder: Path, *, hashed: bool = True) -> tuple[StoredFile, ...]:
    """Size and SHA-256 of every file in a folder, `source.json` excepted. Without `hashed` the SHA-256 is empty."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SOURCE_FILE)
    return tuple(
        StoredFile(
            path=path.relative_to(folder).as_posix(),
            bytes=path.stat().st_size,
            sha256=file_sha256(path) if hashed else "",
        )
        for path in paths
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
