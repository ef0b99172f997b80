"""Deletes folders of old retired versions. Nothing does this by itself."""

import shutil
from contextlib import suppress
from pathlib import Path

from turnwise.app.model_versions.version_library import VersionLibrary, served_model_name
from turnwise.core.errors import UserError
from turnwise.core.folder_names import decode_folder_name
from turnwise.core.model_versions import ModelVersion
from turnwise.core.version_rules import serving_stack
from turnwise.models.adapter_config import is_adapter, read_adapter_config

REASON = "Pruned: the folder of an old retired version was deleted to free space."


def prunable_versions(library: VersionLibrary, model: str, keep: int) -> list[ModelVersion]:
    """Versions whose folders `prune_versions` deletes, oldest first: retired ones, and erased ones with remains.

    The versions that roll-backs would pass are retained first, the next one before the ones behind it, then the newest
    ones. Versions in another state are never deleted, nor is the base model of an adapter that still has its weights,
    nor a model that only has its name here.

    Args:
        library: the versions.
        model: served model name.
        keep: number of retired versions to retain.
    """
    deletable = [
        version
        for version in library.registry.list(model)
        if version.state == "retired" and library.has_deletable_folder(version)
    ]
    erased = [version for version in deletable if version.is_erased]
    retired = [version for version in deletable if not version.is_erased]
    positions = {number: i for i, number in enumerate(serving_stack(library.registry.events(model)))}
    by_value = sorted(retired, key=lambda version: (positions.get(version.number, -1), version.number), reverse=True)
    bases = _base_folders(library)
    superfluous = [version for version in by_value[keep:] if _resolved_folder(library, version) not in bases]
    return sorted([*erased, *superfluous], key=lambda version: version.number)


def _base_folders(library: VersionLibrary) -> set[Path]:
    """Folders of the base models of all versions that are adapters and still have their weights."""
    bases = set()
    for model in library.registry.models():
        for version in library.registry.list(model):
            folder = _resolved_folder(library, version)
            if version.is_erased or folder is None or not is_adapter(folder):
                continue
            with suppress(UserError):  # a damaged adapter needs nothing
                if isinstance(base := read_adapter_config(folder).get("base_model_name_or_path"), str):
                    bases.add(Path(base).resolve())
    return bases


def _resolved_folder(library: VersionLibrary, version: ModelVersion) -> Path | None:
    folder = library.own_folder(version)
    return None if folder is None else folder.resolve()


def prune_versions(library: VersionLibrary, model: str, keep: int) -> list[ModelVersion]:
    """Delete the folders of old retired versions. Their records stay, marked as without weights.

    Returns:
        The versions whose folders were deleted.

    Raises:
        SaveFailed: a folder could not be deleted.
    """
    return [library.erase(version, reason=REASON) for version in prunable_versions(library, model, keep)]


def prunable_model(library: VersionLibrary, name: str) -> str:
    """The name of a model as in its versions; also of one without versions, if a killed process has left a folder.

    Raises:
        NotFound: the model has neither.
    """
    model = served_model_name(name)
    return model if unrecorded_folders(library, model) else library.versioned_model(name)


def models_with_folders(library: VersionLibrary) -> list[str]:
    """Names of the models that have versions, or folders that killed processes have left."""
    folders = [path.name for path in library.root.glob("[!.]*") if path.is_dir()]
    return sorted({*library.registry.models(), *map(decode_folder_name, folders)})


def unrecorded_folders(library: VersionLibrary, model: str) -> list[Path]:
    """Folders of a model that no version names: killed processes have left them. They may hold training data."""
    recorded = {library.own_folder(version) for version in library.registry.list(model)}
    return [path for path in sorted(library.model_folder(model).glob("*")) if path.is_dir() and path not in recorded]


def delete_unrecorded(library: VersionLibrary, model: str) -> list[Path]:
    """Delete the folders that no version names, while no other process adds one. Returns those that are gone.

    Raises as `VersionLibrary.lock` does.
    """
    with library.lock(model):
        folders = unrecorded_folders(library, model)
        for folder in folders:
            with suppress(OSError):
                shutil.rmtree(folder)
        return [folder for folder in folders if not folder.exists()]
