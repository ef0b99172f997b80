"""Builds a recipe from the flags of `turnwise train`, or overrides a recipe with them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnwise.core.errors import InvalidParameter
    from turnwise.training.recipe import Recipe

# Nothing else is imported here, because `--help` must not load torch.

COMMAND_LINE = "The command line"  # origin of a recipe without a file; messages name the flag instead


@dataclass(frozen=True, slots=True)
class RecipeFlags:
    """Flags of a training run; None if a flag is not used.

    Attributes:
        base_model: model folder or name.
        out: folder for the trained model.
        interaction_format: interaction format of the model.
        objective, method: name with options, such as "lora:rank=8".
        data: keys of the recipe's `data` section; a path replaces the sources.
        training: keys of the `training` section.
        source_options: keys of every data source that set how its files are parsed.
    """

    base_model: str | None
    out: Path | None
    objective: str | None
    method: str | None
    data: dict[str, Path | float | bool | None]
    training: dict[str, Any]
    source_options: dict[str, Any]
    interaction_format: str | None = None

    def to_recipe(self, data: Path) -> "Recipe":
        """Build a recipe from the flags and a data file."""
        from turnwise.app.model_names import resolve_model_folder
        from turnwise.core.errors import InvalidParameter
        from turnwise.models.adapter_config import is_adapter
        from turnwise.models.stored_models import converted_gguf
        from turnwise.training.objectives import OBJECTIVES
        from turnwise.training.recipe import parse_recipe

        if self.out is None:
            raise InvalidParameter("out", "Set the folder for the trained model with --out FOLDER.")
        folder = resolve_model_folder(self.base_model)
        try:
            # An adapter is trained further, and the quantized weights of a GGUF file stay as they are.
            objective = _parse_plugin_option(self.objective or "sft")
            default_method = "lora" if is_adapter(folder) or converted_gguf(folder) is not None else "full"
            methods = OBJECTIVES.parse_plugin(objective).METHODS
            if methods is not None and default_method not in methods:
                default_method = methods[0]
            values = {
                "objective": objective,
                "method": _parse_plugin_option(self.method or default_method),
                "model": {"from": str(folder)} | self._format_value(),
                "data": {"train": [{"path": str(data)} | self.source_options], **self._data_values()},
                "training": _without_none(self.training),
                "out": str(self.out),
            }
            return parse_recipe(values, origin=COMMAND_LINE)
        except InvalidParameter as error:
            raise InvalidParameter(error.param or "recipe", _name_flag(error)) from error

    def override_recipe(self, path: Path) -> "Recipe":
        """Load a recipe file and replace the values that flags set."""
        from turnwise.app.model_names import is_model_name, resolve_model_folder
        from turnwise.training.recipe import load_recipe, parse_recipe

        recipe = load_recipe(path)
        values = recipe.model_dump(by_alias=True)
        # Unset values stay unset, because they may be derived later.
        values["training"] = recipe.training.model_dump(exclude_unset=True) | _without_none(self.training)
        if self.base_model is not None:
            values["model"] = {"from": self.base_model}
        source = values["model"]["from"]
        if source is not None and is_model_name(source):  # a new model has no source
            values["model"]["from"] = str(resolve_model_folder(source))
        values["model"] |= self._format_value()
        values["data"] |= self._data_values()
        values["data"]["train"] = [config | self.source_options for config in values["data"]["train"]]
        values |= {"out": str(self.out)} if self.out else {}
        plugins = {"objective": self.objective, "method": self.method}
        values |= {name: _parse_plugin_option(option) for name, option in plugins.items() if option}
        return parse_recipe(values, origin=str(path))

    def _format_value(self) -> dict[str, str]:
        return {} if self.interaction_format is None else {"interaction_format": self.interaction_format}

    def _data_values(self) -> dict[str, Any]:
        return {
            name: [{"path": str(value)} | self.source_options] if isinstance(value, Path) else value
            for name, value in _without_none(self.data).items()
        }


def _name_flag(error: "InvalidParameter") -> str:
    """The message of an error in a recipe made from flags: "--method: there is no method 'lorra'; …"."""
    path = error.param or ""
    text = str(error).removeprefix(f"{COMMAND_LINE}: ").removeprefix(f"'{path}' ")
    section, *keys = path.split(".")
    if section in ("objective", "method", "out"):
        flag = f"--{section}"
    elif path == "model.interaction_format":
        flag = "--interaction-format"
    elif section == "model":
        flag = "--base-model"
    elif section in ("data", "training") and keys and keys[0] != "train":  # `data.train` is an argument
        flag = f"--{keys[0].replace('_', '-')}"
    else:
        return str(error).removeprefix(f"{COMMAND_LINE}: ")
    return f"{flag}: {text[:1].lower()}{text[1:]}"


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _parse_plugin_option(option: str) -> Any:
    """Parse a name with options, `dpo:beta=0.2,label_smoothing=0.1`, to its form in a recipe; values are YAML."""
    import yaml

    from turnwise.core.errors import InvalidParameter

    name, _, text = option.partition(":")
    options = dict(entry.partition("=")[::2] for entry in text.split(",")) if text else {}
    if not all(options.values()):
        raise InvalidParameter(
            name, f"'{option}' should be a name, or a name with options such as lora:rank=8,dora=true."
        )
    return {"name": name, **{key.strip(): yaml.safe_load(value) for key, value in options.items()}} if options else name
