"""Trains a version again from its recipe and its copies of the data, and compares the weights.

On the same machine and with the same version of torch, the bytes are the same. The rounding of matrix products depends
on the number of threads, so the training runs with the number that `result.json` records.
"""

import tempfile
from collections.abc import Mapping, Sequence
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


def rebuild_version(
    library: VersionLibrary, version: ModelVersion, *, hooks: "Sequence[TrainerHook]" = ()
) -> RebuildResult:
    """Train a version again in a temporary folder, which is deleted afterwards, and compare the weights.

    Args:
        library: the versions.
        version: the version.
        hooks: receive the events of the training.

    Raises:
        UserError: the version has no recipe or not all of its data, or the data or the base model have changed.
        ModelNotFound: the version has no folder of its own.
        TurnwiseError: as `run_recipe` does.
    """
    folder = library.own_folder(version)
    if version.is_erased or folder is None or not folder.is_dir():
        raise ModelNotFound(f"{version.reference} has no folder with training data, so it cannot be trained again.")
    values = _recipe_values(version, folder)
    library.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rebuild.", dir=library.root) as temporary:
        out = Path(temporary) / "model"
        values["out"] = str(out)
        before = training_environment(folder)
        _train(values, version, before.get("threads"), hooks)
        return RebuildResult(
            version=version,
            weights_sha256=weights_digest(out),
            different_files=_different_files(folder, out),
            environment_changes=_environment_changes(before, training_environment(out)),
        )


def _recipe_values(version: ModelVersion, folder: Path) -> dict[str, Any]:
    """The recipe with absolute paths of the data, whose digests have been compared with the record."""
    content = version.content
    if not content.recipe:
        raise UserError(f"{version.reference} has no recipe, so it cannot be trained again.")
    digests = data_digests(folder)
    if digests != content.data_sha256:
        names = {name for name, _ in digests.items() ^ content.data_sha256.items()}
        raise UserError(
            f"The training data of {version.reference} have changed since it was added: {', '.join(sorted(names))}."
        )
    values: dict[str, Any] = yaml.safe_load(content.recipe)
    for source in recipe_sources(values):
        path = folder / source["path"]
        if not path.is_relative_to(folder) or not path.exists():
            raise UserError(
                f"{version.reference} cannot be trained again: {source['path']} was missing when the version was added."
            )
        source["path"] = str(path)
    for key in DERIVED_SETTINGS:
        values.get("training", {}).pop(key, None)
    return values


def _train(values: dict[str, Any], version: ModelVersion, threads: Any, hooks: "Sequence[TrainerHook]") -> None:
    """Train with a number of threads; None: with the number of this process, which does not change."""
    import torch

    from turnwise.training.launch.run_recipe import run_recipe
    from turnwise.training.recipe import parse_recipe

    recipe = parse_recipe(values, origin=f"The recipe of {version.reference}")
    num_threads = torch.get_num_threads()
    if isinstance(threads, int) and threads > 0:
        torch.set_num_threads(threads)
    try:
        run_recipe(recipe, hooks=hooks)
    finally:
        torch.set_num_threads(num_threads)


def _different_files(folder: Path, out: Path) -> tuple[str, ...]:
    """Names of weight files with another content, or in one of the folders only."""
    differences = weight_file_digests(folder).items() ^ weight_file_digests(out).items()
    return tuple(sorted({name for name, _ in differences}))


def _environment_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}: {before[name]} → {now.get(name)}" for name in before if before[name] != now.get(name))
