"""Adds a trained model to the registry, with all that is needed to train it again."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from turnwise.app.model_versions.training_snapshot import DATA_FOLDER, file_digests
from turnwise.app.model_versions.version_folder import add_version_folder
from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.model_versions import ModelVersion, NewVersion
from turnwise.improve.build import build_model, interpolate_model
from turnwise.improve.training_data import PLAN_FILE, read_contributors, read_plan
from turnwise.training.hooks import TrainerHook

RUN_FILES = ("recipe.yaml", "tensorboard", "lock")  # of the last training run, whose paths are gone


def add_version(
    library: VersionLibrary,
    model: str,
    trained: Path,
    training: Path,
    *,
    parent: int,
    scorecard: Mapping[str, Any],
    has_passed_gate: bool,
    reason: str,
) -> ModelVersion:
    """Add a model as a candidate, once: an interrupted call is repeated without a second version.

    Args:
        library: versions of models.
        model: served model name.
        trained: folder of the model; it is copied.
        training: folder of its training data; it is copied.
        parent: number of the version that the training started from.
        scorecard: figures and decision.
        has_passed_gate: True if the gate accepted it.
        reason: why it was trained, as a sentence.
    """
    digests = {f"{DATA_FOLDER}/{name}": digest for name, digest in file_digests(training).items()}

    def write(folder: Path) -> "partial[NewVersion]":
        shutil.copytree(trained, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*RUN_FILES))
        shutil.copytree(training, folder / DATA_FOLDER)
        inherited = library.registry.get(model, parent).content.contributors
        return partial(
            NewVersion,
            model=model,
            parent=parent,
            recipe=(training / PLAN_FILE).read_text(encoding="utf-8"),
            data_sha256=digests,
            contributors=tuple(sorted({*read_contributors(training), *inherited})),
            scorecard=scorecard,
            has_passed_gate=has_passed_gate,
        )

    with library.lock(model):
        for version in library.registry.list(model):
            if version.content.data_sha256 == digests and not version.is_erased:
                library.registry.set_scorecard(model, version.number, scorecard, has_passed_gate=has_passed_gate)
                return library.registry.get(model, version.number)
        return add_version_folder(
            library,
            model,
            write,
            reason=reason,
            actor="gate",
            replaces_unrecorded=True,  # of a killed cycle
        )


def is_built_by_cycle(folder: Path) -> bool:
    """True if a cycle trained the version in a folder."""
    return (folder / DATA_FOLDER / PLAN_FILE).is_file()


def train_again(folder: Path, out: Path, hooks: Sequence[TrainerHook] = ()) -> None:
    """Train a version again from its folder, for `app.model_versions.rebuild`."""
    data, trained = folder / DATA_FOLDER, out.with_name("trained")
    build_model(data, trained, hooks=hooks)
    alpha = read_plan(data).alpha
    if alpha == 1:
        trained.rename(out)
    else:
        interpolate_model(data, trained, alpha, out)
