"""Adds a trained model to the registry, with all that is needed to train it again."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnwise.app.model_versions.training_snapshot import ENVIRONMENT_FILE, environment
from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.files import atomic_directory, remove_remains
from turnwise.core.model_versions import ModelVersion, NewVersion
from turnwise.improve.build import build_model, interpolate_model
from turnwise.improve.training_data import PLAN_FILE, read_contributors, read_plan
from turnwise.models.model_folders import weights_digest
from turnwise.training.hooks import TrainerHook

TRAINING = "training"  # folder of the training data in that of a version
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
    digests = data_digests(training)
    with library.lock(model):
        for version in library.registry.list(model):
            if version.content.data_sha256 == digests and not version.is_erased:
                library.registry.set_scorecard(model, version.number, scorecard, has_passed_gate=has_passed_gate)
                return library.registry.get(model, version.number)
        target = _free_folder(library, model)
        with atomic_directory(target) as folder:
            shutil.copytree(trained, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*RUN_FILES))
            shutil.copytree(training, folder / TRAINING)
            (folder / ENVIRONMENT_FILE).write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
            folder.chmod(0o700)  # training data are personal
        try:
            content = NewVersion(
                model=model,
                source=target.relative_to(library.root).as_posix(),
                weights_sha256=weights_digest(target),
                parent=parent,
                recipe=(training / PLAN_FILE).read_text(encoding="utf-8"),
                data_sha256=digests,
                contributors=tuple(sorted(read_contributors(training))),
                scorecard=scorecard,
                has_passed_gate=has_passed_gate,
            )
            return library.registry.add(content, reason=reason, actor="gate")
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise


def _free_folder(library: VersionLibrary, model: str) -> Path:
    """Folder of the next version. A folder without a record, of a killed process, is replaced."""
    target = library.root / model / str(len(library.registry.list(model)) + 1)
    remove_remains(target)
    shutil.rmtree(target, ignore_errors=True)
    return target


def data_digests(training: Path) -> dict[str, str]:
    """SHA-256 of the training files by path in the folder of a version."""
    return {
        f"{TRAINING}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(training.iterdir())
        if path.is_file()
    }


def has_training_data(folder: Path) -> bool:
    """True if a version was trained by a cycle, and can be trained again from its folder."""
    return (folder / TRAINING / PLAN_FILE).is_file()


def rebuild(library: VersionLibrary, version: ModelVersion, *, hooks: Sequence[TrainerHook] = ()) -> str:
    """Train a version again in a temporary folder, and return the digest of its weights.

    Raises:
        ModelNotFound: the version has no training data.
        UserError: the training data have changed.
    """
    folder = library.own_folder(version)
    if folder is None or not has_training_data(folder):
        raise ModelNotFound(f"{version.reference} has no training data, so it cannot be trained again.")
    training = folder / TRAINING
    if data_digests(training) != version.content.data_sha256:
        raise UserError(f"The training data of {version.reference} have changed since it was added.")
    with tempfile.TemporaryDirectory(prefix=".rebuild.", dir=library.root) as temporary:
        out = Path(temporary) / "model"
        build_model(training, out, hooks=hooks)
        return weights_digest(interpolate_model(training, out, read_plan(training).alpha, out.with_name("mixed")))
