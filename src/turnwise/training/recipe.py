"""The recipe: all settings of a training run, in one YAML file that is stored beside the trained weights."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.training.method import Method
from turnwise.training.methods import METHODS
from turnwise.training.objective import Objective
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe_sections import DataSection, ModelSection, TrainingSection
from turnwise.training.renamed_keys import reject_old_keys


class Recipe(StrictModel):
    """A training run: `objective` is the loss, `method` the weights to train."""

    objective: Annotated[
        Objective, PlainValidator(OBJECTIVES.parse_plugin), PlainSerializer(OBJECTIVES.dump_plugin)
    ] = Field("sft", validate_default=True)
    method: Annotated[Method, PlainValidator(METHODS.parse_plugin), PlainSerializer(METHODS.dump_plugin)] = Field(
        "full", validate_default=True
    )
    model: ModelSection
    data: DataSection
    training: TrainingSection = TrainingSection()
    out: str

    @model_validator(mode="after")
    def _check_combinations(self) -> "Recipe":
        if self.training.fsdp and getattr(self.method, "quantize", None):
            raise ValueError("'fsdp' cannot shard quantized weights: remove it, or the method's 'quantize'")
        if self.training.fsdp and self.objective.READS_ANNOTATIONS:
            raise ValueError("'fsdp' cannot shard a classifier: remove it")
        methods, method = self.objective.METHODS, METHODS.plugin_name(self.method)
        if methods is not None and method not in methods:
            names = " or ".join(f"'{name}'" for name in methods)
            raise ValueError(
                f"'{OBJECTIVES.plugin_name(self.objective)}' cannot be trained with the method '{method}': use {names}"
            )
        if self.data.replay_ratio and OBJECTIVES.plugin_name(self.objective) != "sft":
            raise ValueError("'data.replay_ratio' adds dialogues, which only the objective 'sft' trains on: remove it")
        if self.data.replay_ratio and self.model.source is None:
            raise ValueError("'data.replay_ratio' needs replies of the base model, and a new model has none: remove it")
        return self

    def dump(self) -> str:
        """Return the recipe as YAML, including all defaults."""
        return yaml.safe_dump(self.model_dump(by_alias=True), sort_keys=False, allow_unicode=True)

    def with_training(self, **changes: Any) -> "Recipe":
        """Return the recipe with some training settings replaced, without validation."""
        return self.model_copy(update={"training": self.training.model_copy(update=changes)})


def parse_recipe(values: Any, *, origin: str) -> Recipe:
    """Check a recipe.

    Args:
        values: parsed YAML, or values from command-line flags.
        origin: name of the source in error messages.

    Raises:
        InvalidParameter: unknown key (the message suggests the nearest one), wrong type, or value out of range.
    """
    if not isinstance(values, dict):
        raise InvalidParameter("recipe", f"{origin} should hold keys such as 'model', 'data' and 'out'.")
    reject_old_keys(values, origin=origin)
    return _with_default_rate(parse_strict_model(Recipe, values, origin=origin))


def _with_default_rate(recipe: Recipe) -> Recipe:
    """The recipe with the default learning rate of its objective, unless it has one of its own."""
    if "learning_rate" in recipe.training.model_fields_set:
        return recipe
    recipe = recipe.with_training(learning_rate=recipe.objective.LEARNING_RATE)
    recipe.training.model_fields_set.discard("learning_rate")  # presets and time budgets replace a default
    return recipe


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. `${NAME}` in its values is replaced by the environment variable NAME.

    Raises:
        InvalidParameter: the file is missing, is not YAML or is not a recipe.
    """
    if not path.is_file():
        raise InvalidParameter("recipe", f"There is no recipe {path}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidParameter("recipe", f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    return parse_recipe(_expand_variables(values, path), origin=str(path))


def _expand_variables(value: Any, path: Path) -> Any:
    """Replace `${NAME}` in all texts of `value`."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise InvalidParameter(name, f"{path} uses ${{{name}}}: set the environment variable {name} to a folder.")
        return os.environ[name]

    if isinstance(value, dict):
        return {key: _expand_variables(entry, path) for key, entry in value.items()}
    if isinstance(value, list):
        return [_expand_variables(entry, path) for entry in value]
    return re.sub(r"\$\{(\w+)\}", replace, value) if isinstance(value, str) else value
