"""The store of pulled models: one folder per model in `TURNWISE_HOME/models`, with its origin in `source.json`."""

import hashlib
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from turnwise.app.model_store.folder_files import clear_folder, file_sha256
from turnwise.app.model_store.stored_model import StoredModel, read_source, write_source
from turnwise.core.directory_lock import DirectoryLocked, lock_directory
from turnwise.core.errors import InvalidParameter, ModelNotFound, SaveFailed, Unavailable, UserError, did_you_mean
from turnwise.core.files import replace_directory, sync_tree
from turnwise.core.settings import Settings
from turnwise.models.stored_models import SOURCE_FILE, converted_folders

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
            raise InvalidParameter("name", f"'{name[:60]}' is not a model name: use letters, digits, '.', '-' and '_'.")
        return self.root / name

    def names(self) -> list[str]:
        """Names of the pulled models, in alphabetical order."""
        return sorted(path.parent.name for path in self.root.glob(f"[!.]*/{SOURCE_FILE}"))

    def get(self, name: str) -> StoredModel | None:
        """The origin of a pulled model; None if there is no such model. Raises `DamagedModel`."""
        folder = self.folder(name)
        return read_source(folder) if (folder / SOURCE_FILE).is_file() else None

    def folders(self, name: str) -> list[Path]:
        """What the store has of a model: its folder, and the working folder of an incomplete pull."""
        folder, work = self.folder(name), self._work_folder(name)
        return [
            *([folder] if (folder / SOURCE_FILE).is_file() else []),
            *([work] if work.is_dir() else []),
        ]  # fmt: skip

    def size(self, name: str) -> int:
        """Bytes that `remove` frees: the files in `folders`, without those that are linked."""
        paths = (path for folder in self.folders(name) for path in folder.rglob("*"))
        return sum(path.stat().st_size for path in paths if path.is_file() and not path.is_symlink())

    def remove(self, name: str) -> None:
        """Delete a model, what an incomplete pull left of it, and the folders that its GGUF files were converted to.

        Files that it links to stay. `source.json` is not read: it may be damaged.

        Raises:
            ModelNotFound: the store has nothing of this name.
            Unavailable: another process pulls or removes the model.
            SaveFailed: something could not be deleted.
        """
        if not self.folders(name):
            raise ModelNotFound(f"There is no pulled model '{name}'; {did_you_mean(name, self.names())}")
        with self.lock(name) as work:
            for converted in converted_folders(self.folder(name)):
                shutil.rmtree(converted)
                with suppress(OSError):  # it holds the conversion of another process
                    converted.parent.rmdir()
            for folder in self.folders(name):
                if folder != work:
                    shutil.rmtree(folder)
            clear_folder(work)

    def _work_folder(self, name: str) -> Path:
        return self.root / f".{self.folder(name).name}.pull"

    @contextmanager
    def lock(self, name: str) -> Iterator[Path]:
        """Hold the lock of a model and yield the working folder of its pull, which lasts until the pull is complete.

        Raises:
            Unavailable: another process pulls or removes the model.
            SaveFailed: the block, or the lock itself, could not write.
        """
        folder = self._work_folder(name)
        try:
            with lock_directory(folder):
                yield folder
        except DirectoryLocked as error:
            process = f"process {error.pid}" if error.pid else "another process"
            raise Unavailable(
                f"'{name}' is being pulled by {process}. Wait for it, then run the command again."
            ) from None
        except OSError as error:
            raise SaveFailed(f"Could not write {error.filename or folder}: {error.strerror or error}.") from error

    def staging(self, model: StoredModel) -> Path:
        """The folder for the files of a pull, which need not exist. The lock of the model must be held.

        It keeps the files of an interrupted pull from the same source, so that it continues. The files of pulls from
        other sources are deleted.
        """
        name = hashlib.sha256(model.source.encode()).hexdigest()[:16]
        work = self._work_folder(model.name)
        clear_folder(work, keep=name)
        return work / name

    def check_space(self, name: str, needed_bytes: int) -> None:
        """Raise `UserError` if the disk has less space than pulling a model needs. The folder must exist."""
        free_bytes = shutil.disk_usage(self.root).free
        if free_bytes < needed_bytes:
            raise UserError(
                f"Pulling {name} needs {needed_bytes / 1e6:,.0f} MB in {self.root}, and {free_bytes / 1e6:,.0f} MB are "
                "free. Free some space, or set TURNWISE_HOME to a folder on a larger disk."
            )

    def publish(self, staging: Path, model: StoredModel) -> Path:
        """Add `source.json` to a complete folder and move it into the store. Returns its path there.

        The lock of the model must be held. Its working folder is cleared.

        Raises:
            SaveFailed: a write failed.
        """
        content = model.model_dump() | {"date": datetime.now(UTC).isoformat(timespec="seconds")}
        write_source(staging, StoredModel(**content))
        sync_tree(staging)
        target = self.folder(model.name)
        replace_directory(staging, target)
        with suppress(OSError):  # the model is complete, whatever is left
            clear_folder(self._work_folder(model.name))
        return target

    def add_references(self, model: StoredModel, references: Collection[str]) -> None:
        """Note further references of the hub that stand for a stored model. Raises `SaveFailed`."""
        if new := [reference for reference in references if reference not in model.references]:
            with self.lock(model.name):
                extended = model.model_copy(update={"references": (*model.references, *new)})
                write_source(self.folder(model.name), extended)

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
