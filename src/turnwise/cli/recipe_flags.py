"""What the command line says of a training run, as a recipe, or over one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnwise.training.recipe import Recipe

# Nothing else is imported up here: the help must answer at once.


@dataclass(frozen=True, slots=True)
class RecipeFlags:
    """What the command line says of a run."""

    source: str | None
    out: Path | None
    objective: str | None
    method: str | None
    data: dict[str, Path | float | None]
    training: dict[str, Any]
    skip_bad: bool
    data_options: dict[str, Any] = field(default_factory=dict)  # how its data files are to be read

    def to_recipe(self, data: Path) -> "Recipe":
        """A recipe from flags alone."""
        from turnwise.app.model_names import resolve_model_folder
        from turnwise.core.errors import InvalidParameter
        from turnwise.training.recipe import parse_recipe

        if self.out is None:
            raise InvalidParameter("out", "Say where the trained model should go with --out FOLDER.")
        values = {
            "objective": _parse_plugin_option(self.objective or "sft"),
            "method": _parse_plugin_option(self.method or "full"),
            "model": {"from": str(resolve_model_folder(self.source))},
            "data": {"train": [{"path": str(data)} | self.data_options], "skip_bad": self.skip_bad, **self._data()},
            "training": self.training,
            "out": str(self.out),
        }
        return parse_recipe(values, origin="The command line")

    def override_recipe(self, path: Path) -> "Recipe":
        """A recipe file, with what the command line says in place of what it says."""
        from turnwise.app.model_names import BUNDLED_MODEL, resolve_model_folder
        from turnwise.training.recipe import load_recipe, parse_recipe

        kept = load_recipe(path)
        values = kept.model_dump(by_alias=True)
        values["training"] = kept.training.model_dump(exclude_unset=True)  # what nobody said may be settled otherwise
        if self.source is not None:
            values["model"] = {"from": self.source}
        if values["model"]["from"] == BUNDLED_MODEL:
            values["model"]["from"] = str(resolve_model_folder(BUNDLED_MODEL))
        values["data"] |= self._data()
        values["data"]["train"] = [source | self.data_options for source in values["data"]["train"]]
        values["data"]["skip_bad"] |= self.skip_bad
        values["training"] |= self.training
        values |= {"out": str(self.out)} if self.out else {}
        named = {"objective": self.objective, "method": self.method}
        values |= {name: _parse_plugin_option(said) for name, said in named.items() if said}
        return parse_recipe(values, origin=str(path))

    def _data(self) -> dict[str, Any]:
        said = {name: value for name, value in self.data.items() if value is not None}
        return {
            name: [{"path": str(value)} | self.data_options] if isinstance(value, Path) else value
            for name, value in said.items()
        }


def _parse_plugin_option(said: str) -> Any:
    """`dpo:beta=0.2,smoothing=0.1` as a recipe has it; values are YAML."""
    import yaml

    from turnwise.core.errors import InvalidParameter

    name, _, rest = said.partition(":")
    options = dict(part.partition("=")[::2] for part in rest.split(",")) if rest else {}
    if not all(options.values()):
        raise InvalidParameter(
            name, f"'{said}' should be a name, or a name with options such as lora:rank=8,dora=true."
        )
    return {"name": name, **{key.strip(): yaml.safe_load(value) for key, value in options.items()}} if options else name
