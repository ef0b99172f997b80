"""The models of an experiment: folders named ARM-SEED, or the folders that a YAML file lists.

arms:
  sft_continued: [runs/sft_continued-0, runs/sft_continued-1]
  adversarial: [runs/adversarial-0, runs/adversarial-1]
"""

import re
from dataclasses import dataclass
from pathlib import Path

from turnwise.core.errors import InvalidData
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import read_yaml

FOLDER_NAME = re.compile(r"(?P<arm>.+)-(?P<seed>\d+)")


@dataclass(frozen=True, slots=True)
class ExperimentModel:
    """A trained model.

    Attributes:
        arm: the way of training.
        seed: seed of the training run; models of two arms with the same seed are compared as a pair.
        model: its folder, or its name in the model store.
    """

    arm: str
    seed: int
    model: str

    @property
    def name(self) -> str:
        """ARM-SEED, the name of its files."""
        return f"{self.arm}-{self.seed}"


class ArmsFile(StrictModel):
    """The YAML file: by arm, the models in the order of their seeds."""

    arms: dict[str, list[str]]


def find_models(path: Path) -> list[ExperimentModel]:
    """List the models of a folder or of a YAML file, by arm and seed.

    Raises:
        UserError: there is no model, or the file is invalid.
    """
    models = _listed_models(path) if path.is_file() else _folder_models(path)
    if not models:
        raise InvalidData(f"{path} holds no model: the folders should be named ARM-SEED, such as adversarial-0.")
    return models


def group_by_arm(models: list[ExperimentModel]) -> dict[str, list[ExperimentModel]]:
    """The models of each arm, in order."""
    arms: dict[str, list[ExperimentModel]] = {}
    for model in models:
        arms.setdefault(model.arm, []).append(model)
    return arms


def _folder_models(folder: Path) -> list[ExperimentModel]:
    if not folder.is_dir():
        raise InvalidData(f"There is no folder {folder}.")
    models = [
        ExperimentModel(match["arm"], int(match["seed"]), str(path))
        for path in folder.iterdir()
        if path.is_dir() and (match := FOLDER_NAME.fullmatch(path.name)) is not None
    ]
    return sorted(models, key=lambda model: (model.arm, model.seed))


def _listed_models(path: Path) -> list[ExperimentModel]:
    arms = parse_strict_model(ArmsFile, read_yaml(path, "list of models"), origin=str(path)).arms
    return [
        ExperimentModel(arm, seed, model) for arm, folders in sorted(arms.items()) for seed, model in enumerate(folders)
    ]
