"""Trains a version again from its recipe and its copies of the data, and compares the weights.

On the same machine and with the same version of torch, the bytes are the same. The rounding of matrix products depends
on the number of threads, so the training runs with the number that `result.json` records.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from turnwise.app.model_versions.training_snapshot import data_digests, recipe_sources, training_environment
from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.errors import ModelNotFound, UserError
from turnwise.core.model_versions import ModelVersion
from turnwise.models.model_folders import weight_file_digests, weights_digest

if TYPE_CHECKING:
    from turnwise.training.hooks import TrainerHook

DERIVED_SETTINGS = ("preset", "time_budget")  # of a recipe; the values that follow from them are in it, too


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """The comparison of a rebuilt version with its record.

    Attributes:
        version: the version.
        weights_sha256: digest of the new weights.
        different_files: names of the weight files that differ from those in its folder, are missing or are new.
        environment_changes: what differs from the first training, such as "torch: 2.6 → 2.7".
    """

    version: ModelVersion
    weights_sha256: str
    different_files: tuple[str, ...]
    environment_changes: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """True if the weights have the bytes of the record."""
        return self.weights_sha256 == self.version.content.weights_sha256


Train = Callable[[Path, Path], None]
"""Trains a model from the folder of a version into a new folder."""


def rebuild_version(
    library: VersionLibrary,
    version: ModelVersion,
    *,
    hooks: "Sequence[TrainerHook]" = (),
    train: Train | None = None,
) -> RebuildResult:
    """Train a version again in a temporary folder, which is deleted afterwards, and compare the weights.

    Args:
        library: the versions.
        version: the version.
        hooks: receive the events of the training.
        train: trains a version that was made by more than one recipe; None: by its recipe.

    Raises:
        UserError: the version has no recipe or not all of its data, or the data or the base model have changed.
        ModelNotFound: the version has no folder of its own.
        TurnwiseError: as `run_recipe` does.
    """
    folder = library.own_folder(version)
    if version.is_erased or folder is None or not folder.is_dir():
        raise ModelNotFound(f"{version.reference} has no folder with training data, so it cannot be trained again.")
    _check_data(version, folder)
    parent = library.root / version.content.model  # where `models prune` deletes it if this process is killed
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rebuild.", dir=parent) as temporary:
        out = Path(temporary) / "model"
        before = training_environment(folder)
        with _threads(before.get("threads")):
            if train is None:
                _train_by_recipe(version, folder, out, hooks)
            else:
                train(folder, out)
        return RebuildResult(
            version=version,
            weights_sha256=weights_digest(out),
            different_files=_different_files(folder, out),
            environment_changes=_environment_changes(before, training_environment(out)),
        )


def _check_data(version: ModelVersion, folder: Path) -> None:
    """Raise `UserError` if the training data are not those of the record."""
    if not version.content.recipe:
        raise UserError(f"{version.reference} has no recipe, so it cannot be trained again.")
    digests = data_digests(folder)
    if digests != version.content.data_sha256:
        names = {name for name, _ in digests.items() ^ version.content.data_sha256.items()}
        raise UserError(
            f"The training data of {version.reference} have changed since it was added: {', '.join(sorted(names))}."
        )


def _train_by_recipe(version: ModelVersion, folder: Path, out: Path, hooks: "Sequence[TrainerHook]") -> None:
    from turnwise.training.launch.run_recipe import run_recipe
    from turnwise.training.recipe import parse_recipe

    values: dict[str, Any] = yaml.safe_load(version.content.recipe)
    for source in recipe_sources(values):
        path = folder / source["path"]
        if not path.is_relative_to(folder) or not path.exists():
            raise UserError(
                f"{version.reference} cannot be trained again: {source['path']} was missing when the version was added."
            )
        source["path"] = str(path)
    for key in DERIVED_SETTINGS:
        values.get("training", {}).pop(key, None)
    values["out"] = str(out)
    run_recipe(parse_recipe(values, origin=f"The recipe of {version.reference}"), hooks=hooks)


@contextmanager
def _threads(threads: Any) -> Iterator[None]:
    """Use a number of threads in the block; None: the number of this process."""
    import torch

    num_threads = torch.get_num_threads()
    if isinstance(threads, int) and threads > 0:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _different_files(folder: Path, out: Path) -> tuple[str, ...]:
    """Names of weight files with another content, or in one of the folders only."""
    differences = weight_file_digests(folder).items() ^ weight_file_digests(out).items()
    return tuple(sorted({name for name, _ in differences}))


def _environment_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}: {before[name]} → {now.get(name)}" for name in before if before[name] != now.get(name))
