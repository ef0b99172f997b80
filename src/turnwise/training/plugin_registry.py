"""Folders whose files are what a recipe may name: `sft`, or `{name: sft, turns: last}` with options."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Generic, TypeVar

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.strict_model import StrictModel, parse_strict_model

T = TypeVar("T", bound=StrictModel)


class PluginRegistry(Generic[T]):
    """The files of a package, each of which has a class of this name: a section whose fields are the options."""

    def __init__(self, package: ModuleType, base: type[T]) -> None:
        self._package, self._base = package, base
        self._word = base.__name__.lower()  # what recipes and errors call it

    def names(self) -> list[str]:
        """What there is."""
        return sorted(module.name for module in iter_modules(self._package.__path__))

    def plugin_class(self, name: str) -> type[T]:
        """The class of this name.

        Raises:
            InvalidParameter: there is none.
        """
        if name not in self.names():
            raise InvalidParameter(
                self._word, f"There is no {self._word} '{name}'; {did_you_mean(str(name), self.names())}"
            )
        module = import_module(f"{self._package.__name__}.{name}")
        found: type[T] = getattr(module, self._base.__name__)
        return found

    def parse_plugin(self, said: Any) -> T:
        """What a recipe means by a name, or by a name with options.

        Raises:
            InvalidParameter: an unknown name or option, or a value out of range.
        """
        if isinstance(said, self._base):
            return said
        options = {"name": said} if isinstance(said, str) else said
        if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
            raise InvalidParameter(
                self._word,
                f"'{self._word}' should be a name, or a name with options such as {{name: {self.names()[0]}, …}}.",
            )
        name = options["name"]
        rest = {key: value for key, value in options.items() if key != "name"}
        return parse_strict_model(self.plugin_class(name), rest, origin=f"{self._word} '{name}'", at=self._word)

    def plugin_name(self, made: T) -> str:
        """What a recipe calls it."""
        return type(made).__module__.rpartition(".")[2]

    def dump_plugin(self, made: T) -> Any:
        """How a recipe says it: a name, with every option spelled out where there are any."""
        name = self.plugin_name(made)
        options = made.model_dump(by_alias=True)
        return {"name": name, **options} if options else name
