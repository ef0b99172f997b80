"""Reads the files of a scenario's folder, which may be hostile: bounded, without symbolic links and special files."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.errors import InvalidData, did_you_mean

SETTINGS_FILE = "scenario.yaml"
OPTIONAL_FILES = (
    "intents.yaml", "templates.yaml", "slots.yaml", "facts.yaml", "examples.yaml", "safety.yaml", "refusals.yaml",
)  # fmt: skip
TESTS_FOLDER = "tests"
MAX_YAML_BYTES = 2 * 2**20
MAX_DOCUMENT_BYTES = 32 * 2**20
MAX_FOLDER_BYTES = 256 * 2**20
MAX_FILES = 5000
MAX_FOLDER_DEPTH = 8

FolderState = tuple[tuple[str, int, int, int], ...]
"""Path, modification time in nanoseconds, size and inode of every file: changes when a file does."""


@dataclass(frozen=True, slots=True)
class FolderSnapshot:
    """The content of a folder at one time.

    Attributes:
        folder: the folder.
        files: content by path relative to the folder, with slashes, sorted.
        state: state of the files before they were read.
    """

    folder: Path
    files: Mapping[str, bytes]
    state: FolderState

    @property
    def content_hash(self) -> str:
        """SHA-256 of all paths and contents."""
        digest = hashlib.sha256()
        for path, content in self.files.items():
            digest.update(f"{len(path.encode())} {path} {len(content)} ".encode())
            digest.update(content)
        return digest.hexdigest()

    def paths_under(self, folder: str, suffix: str = "") -> list[str]:
        """Paths of the files in a folder of the scenario and in its folders."""
        return [path for path in self.files if path.startswith(f"{folder}/") and path.endswith(suffix)]


def read_folder(folder: Path) -> FolderSnapshot:
    """Read all files of a scenario.

    Raises:
        InvalidData: the folder or `scenario.yaml` is missing, a file is too large, cannot be read, is a symbolic link
            or no regular file, or a YAML file has a name that no scenario has.
    """
    if not folder.is_dir():
        raise InvalidData(f"There is no scenario in {folder}: it is no folder.")
    state = folder_state(folder)
    paths = [path for path, *_ in state]
    if SETTINGS_FILE not in paths:
        raise InvalidData(f"There is no scenario in {folder}: it has no {SETTINGS_FILE}.")
    files: dict[str, bytes] = {}
    total = 0
    for path in paths:
        _check_name(folder, path)
        limit = MAX_YAML_BYTES if path.endswith((".yaml", ".yml")) else MAX_DOCUMENT_BYTES
        files[path] = _read_file(folder / path, limit)
        total += len(files[path])
        if total > MAX_FOLDER_BYTES:
            raise InvalidData(f"{folder} has more than {MAX_FOLDER_BYTES:,} bytes.")
    return FolderSnapshot(folder, files, state)


def folder_state(folder: Path) -> FolderState:
    """State of all files of a folder, sorted by path. Hidden files and editors' backups (`name~`) are left out.

    Raises:
        InvalidData: there are too many files, or one is a symbolic link or no regular file.
    """
    states = []
    try:
        for path, status in _walk(folder, folder, 0):
            states.append((path, status.st_mtime_ns, status.st_size, status.st_ino))
            if len(states) > MAX_FILES:
                raise InvalidData(f"{folder} has more than {MAX_FILES:,} files.")
    except OSError as error:
        raise InvalidData(f"{folder} cannot be read: {error.strerror or error}.") from error
    return tuple(sorted(states))


def _walk(root: Path, folder: Path, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    if depth > MAX_FOLDER_DEPTH:
        raise InvalidData(f"{folder}: folders are nested more than {MAX_FOLDER_DEPTH} levels deep.")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__pycache__")) or entry.name.endswith("~"):
                continue
            path = Path(entry.path)
            if entry.is_symlink():
                raise InvalidData(f"{path} is a symbolic link. Copy the file into the scenario.")
            if entry.is_dir():
                yield from _walk(root, path, depth + 1)
            elif entry.is_file():
                yield path.relative_to(root).as_posix(), entry.stat(follow_symlinks=False)
            else:
                raise InvalidData(f"{path} is no regular file.")


def _check_name(folder: Path, path: str) -> None:
    """Raise `InvalidData` for a YAML file at the top with another name: it would be ignored."""
    known_files = (SETTINGS_FILE, *OPTIONAL_FILES)
    if "/" not in path and path.endswith((".yaml", ".yml")) and path not in known_files:
        raise InvalidData(f"{folder / path}: a scenario has no file of this name; {did_you_mean(path, known_files)}")


def _read_file(path: Path, limit: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor, which cannot become another file
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InvalidData(f"{path} is no regular file.")
            content = file.read(limit + 1)
    except OSError as error:
        raise InvalidData(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > limit:
        raise InvalidData(f"{path} has more than {limit:,} bytes.")
    return content
