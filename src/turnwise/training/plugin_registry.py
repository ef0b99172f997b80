"""Plug-ins that a recipe selects by name: `sft`, or `{name: sft, turns: last}` with options."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Generic, TypeVar

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.strict_model import StrictModel, parse_strict_model

T = TypeVar("T", bound=StrictModel)


class PluginRegistry(Generic[T]):
    """The modules of a package, each with a class named like `base`, whose fields are the options."""

    def __init__(self, package: ModuleType, base: type[T]) -> None:
        self._package, self._base = package, base
        self._word = base.__name__.lower()  # the recipe's key

    def names(self) -> list[str]:
        """Return the names of all plug-ins."""
        return sorted(module.name for module in iter_modules(self._package.__path__))

    def plugin_class(self, name: str) -> type[T]:
        """Return the class of a plug-in.

        Raises:
            InvalidParameter: there is no plug-in of this name.
        """
        if name not in self.names():
            raise InvalidParameter(
                self._word, f"There is no {self._word} '{name}'; {did_you_mean(str(name), self.names())}"
            )
        module = import_module(f"{self._package.__name__}.{name}")
        cls: type[T] = getattr(module, self._base.__name__)
        return cls

    def parse_plugin(self, value: Any) -> T:
        """Create a plug-in from a name, or from a mapping with `name` and options.

        Raises:
            InvalidParameter: an unknown name or option, or a value out of range.
        """
        if isinstance(value, self._base):
            return value
        options = {"name": value} if isinstance(value, str) else value
        if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
            raise InvalidParameter(
                self._word,
                f"'{self._word}' should be a name, or a name with options such as {{name: {self.names()[0]}, …}}.",
            )
        name = options["name"]
        rest = {key: value for key, value in options.items() if key != "name"}
        return parse_strict_model(self.plugin_class(name), rest, origin=f"{self._word} '{name}'", at=self._word)

    def plugin_name(self, made: T) -> str:
        """Return the name of a plug-in in recipes."""
        return type(made).__module__.rpartition(".")[2]

    def dump_plugin(self, made: T) -> Any:
        """Return the name, or a mapping with the name and all options: the inverse of `parse_plugin`."""
        name = self.plugin_name(made)
        options = made.model_dump(by_alias=True)
        return {"name": name, **options} if options else name
