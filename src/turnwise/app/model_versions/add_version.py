"""Adds the folder of a training run as a version, with copies of its training data."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from turnwise.app.model_versions.training_snapshot import take_snapshot
from turnwise.app.model_versions.version_folder import add_version_folder
from turnwise.app.model_versions.version_library import VersionLibrary, default_source, served_model_name
from turnwise.core.directory_lock import LOCK_NAME
from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.model_versions import Actor, ModelVersion, NewVersion
from turnwise.models.model_folders import PICKLE_PATTERNS


@dataclass(frozen=True, slots=True)
class AddedVersion:
    """A version that was added.

    Attributes:
        version: the version.
        missing_data: paths of its recipe that do not exist any more, so that it cannot be trained again.
    """

    version: ModelVersion
    missing_data: tuple[str, ...]


def add_run(
    library: VersionLibrary,
    model: str,
    run: Path,
    *,
    reason: str,
    actor: Actor = "person",
    parent: int | None = None,
    contributors: tuple[str, ...] = (),
    scorecard: Mapping[str, Any] | None = None,
    has_passed_gate: bool = False,
    move: bool = False,
) -> AddedVersion:
    """Add the folder of a training run as a version, with copies of its training data.

    The bundled or stored model that is served by this name is registered first, if the model has no versions. A process
    that is killed leaves the version complete or not at all; a folder without a record is never overwritten.

    Args:
        library: the versions.
        model: served model name, or the name of a bundled model.
        run: a model or adapter folder; `recipe.yaml` in it names the training data.
        reason: why it was trained, as a sentence.
        actor: who adds it.
        parent: number of the version that the training started from. Default: the one that its recipe names.
        contributors: ids of the people whose answers or feedback it was trained on. Those of the parent are added,
            because its weights have learned from them.
        scorecard: figures of its evaluation.
        has_passed_gate: True if the gate accepted it.
        move: delete the folder of the run afterwards. Its files are linked and not copied if the file system can.

    Raises:
        ModelNotFound: the folder holds no model.
        UserError: its recipe cannot be read.
        SaveFailed: the disk is full or not writable; nothing was added.
    """
    _check_model_folder(run)
    model = served_model_name(model)
    if not library.registry.list(model) and default_source(model) is not None:
        library.ensure_first(model)
    missing: tuple[str, ...] = ()

    def write(folder: Path) -> "partial[NewVersion]":
        nonlocal missing
        _copy_files(run, folder, _link_or_copy if move else shutil.copyfile)
        snapshot = take_snapshot(run, folder)
        missing = snapshot.missing
        base = _find_parent(library, model, snapshot.recipe) if parent is None else parent
        inherited = () if base is None else library.registry.get(model, base).content.contributors
        return partial(
            NewVersion,
            model=model,
            parent=base,
            recipe=snapshot.recipe,
            data_sha256=snapshot.data_sha256,
            contributors=tuple(sorted({*contributors, *inherited})),
            scorecard=scorecard or {},
            has_passed_gate=has_passed_gate,
        )

    with library.lock(model):
        version = add_version_folder(library, model, write, reason=reason, actor=actor)
    if move:
        shutil.rmtree(run, ignore_errors=True)
    return AddedVersion(version, missing)


def _check_model_folder(run: Path) -> None:
    if not any((run / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ModelNotFound(f"{run} holds no model: it has neither config.json nor adapter_config.json.")
    if not any(run.glob("*.safetensors")):
        raise ModelNotFound(f"{run} holds no weights: there is no .safetensors file.")


def _find_parent(library: VersionLibrary, model: str, recipe: str) -> int | None:
    """Number of the version whose folder is the base model of a recipe; None if it is none."""
    base = ((yaml.safe_load(recipe) or {}).get("model") or {}).get("from")
    if not isinstance(base, str):
        return None
    for version in reversed(library.registry.list(model)):
        with suppress(ModelNotFound, UserError):
            if library.folder(version).resolve() == Path(base).resolve():
                return version.number
    return None


def _copy_files(run: Path, folder: Path, copy: Callable[[str, str], object]) -> None:
    """Copy a run without lock, hidden files and pickled weights, which can run code when opened."""
    shutil.copytree(
        run,
        folder,
        ignore=shutil.ignore_patterns(".*", LOCK_NAME, *PICKLE_PATTERNS),
        copy_function=copy,
        dirs_exist_ok=True,
    )


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
