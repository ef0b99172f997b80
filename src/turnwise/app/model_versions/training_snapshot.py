"""The training data of a version, copied into its folder, and the recipe that names the copies.

The recipe of a version has paths relative to its folder, so that a version can be trained again from its folder alone,
also after the original files have changed.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from turnwise.core.errors import UserError
from turnwise.core.files import atomic_write
from turnwise.core.json_file import read_json_object

RECIPE_FILE = "recipe.yaml"
RESULT_FILE = "result.json"
DATA_FOLDER = "data"
SOURCE_LISTS = ("train", "valid", "test", "retention", "replay_prompts")  # keys of `data` in a recipe


@dataclass(frozen=True, slots=True)
class TrainingSnapshot:
    """What a version was trained from.

    Attributes:
        recipe: recipe with paths of the copies, as YAML; empty if the run has none.
        data_sha256: digests of the copies, by path relative to the folder of the version.
        missing: paths of the recipe that do not exist any more. The version cannot be trained again.
    """

    recipe: str = ""
    data_sha256: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def take_snapshot(run: Path, folder: Path) -> TrainingSnapshot:
    """Copy the training data that the recipe of a run names into the folder of a version, and write its recipe there.

    Args:
        run: folder of the run. Relative paths of its recipe are below this folder, else below the working directory.
        folder: folder of the version.

    Raises:
        UserError: the recipe cannot be read.
        OSError: a file cannot be copied.
    """
    path = run / RECIPE_FILE
    if not path.is_file():
        return TrainingSnapshot()
    values = _read_recipe(path)
    copies: dict[str, str | None] = {}
    for source in recipe_sources(values):
        original = source["path"]
        if original not in copies:
            data = run / original
            copies[original] = _copy_source(
                data if data.exists() else Path(original).expanduser(), folder, len(copies) + 1
            )
        source["path"] = copies[original] or original
    model = values.get("model") or {}
    for key in ("from", "tokenizer", "interaction_format"):  # of these, files and folders do not move along
        if isinstance(model.get(key), str) and Path(model[key]).expanduser().exists():
            model[key] = str(Path(model[key]).expanduser().absolute())
    recipe = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    atomic_write(folder / RECIPE_FILE, recipe)  # a new file: the old one may be linked to that of the run
    missing = tuple(original for original, copy in copies.items() if copy is None)
    return TrainingSnapshot(recipe, data_digests(folder), missing)


def recipe_sources(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The data sources of a recipe with all defaults; each has a path."""
    data = values.get("data")
    for key in SOURCE_LISTS:
        yield from (data or {}).get(key) or ()


def data_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the training files in the folder of a version, by path relative to it."""
    return {f"{DATA_FOLDER}/{path}": digest for path, digest in file_digests(folder / DATA_FOLDER).items()}


def file_digests(data: Path) -> dict[str, str]:
    """SHA-256 of the files in a folder of training data, by path relative to it."""
    digests = {}
    for path in sorted(data.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digests[path.relative_to(data).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def training_environment(folder: Path) -> dict[str, Any]:
    """Versions of turnwise and torch, and the number of threads, that trained a model; empty if it is not recorded."""
    path = folder / RESULT_FILE
    environment = read_json_object(path).get("environment") if path.is_file() else None
    return environment if isinstance(environment, dict) else {}


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    sources = list(recipe_sources(values)) if isinstance(values, dict) and isinstance(values.get("data"), dict) else []
    if not sources or not all(isinstance(source, dict) and isinstance(source.get("path"), str) for source in sources):
        raise UserError(f"{path} is not the recipe of a training run: it names no data.")
    return dict(values)


def _copy_source(original: Path, folder: Path, number: int) -> str | None:
    """Copy a file or folder of data. Returns its path relative to the folder, None if it does not exist."""
    name = f"{DATA_FOLDER}/{number}-{original.name}"
    target = folder / name
    if original.is_dir():
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(original, target)
    elif original.is_file():
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(original, target)
    else:
        return None
    return name
