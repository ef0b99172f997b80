"""Objectives and methods, which a recipe selects by name: `sft`, or `{name: sft, turns: last}` with options."""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from turnwise.core.errors import InvalidParameter
from turnwise.core.plugins import PluginGroup, find_subclass
from turnwise.core.strict_model import StrictModel, parse_strict_model

T = TypeVar("T", bound=StrictModel)


class PluginRegistry(Generic[T]):
    """The modules of a package, each with one subclass of `base`, whose fields are the options.

    Args:
        package: the package of the modules, and its search path: `__name__, __path__`.
        base: base class. Its name in lower case is the recipe's key, in the plural the entry-point group.
    """

    def __init__(self, package: tuple[str, Iterable[str]], base: type[T]) -> None:
        self._base, self._word = base, base.__name__.lower()
        self._group: PluginGroup[type[T]] = PluginGroup(
            self._word, f"{self._word}s", package, build=lambda _, module: find_subclass(module, base)
        )
        self._names: dict[type[T], str] = {}  # names of the classes loaded so far

    def names(self) -> list[str]:
        """Return the names of all plug-ins."""
        return list(self._group.names())

    def plugin_class(self, name: str) -> type[T]:
        """Return the class of a plug-in.

        Raises:
            InvalidParameter: there is no plug-in of this name.
            InvalidPlugin: a plug-in of another package lacks a required attribute.
        """
        cls = self._group.load(name)
        self._names[cls] = name
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
        fields = {key: value for key, value in options.items() if key != "name"}
        return parse_strict_model(self.plugin_class(name), fields, origin=f"{self._word} '{name}'", at=self._word)

    def plugin_name(self, plugin: T) -> str:
        """Return the name of a plug-in in recipes."""
        return self._names.get(type(plugin)) or type(plugin).__module__.rpartition(".")[2]

    def dump_plugin(self, plugin: T) -> Any:
        """Return the name, or a mapping with the name and all options: the inverse of `parse_plugin`."""
        name = self.plugin_name(plugin)
        options = plugin.model_dump(by_alias=True)
        return {"name": name, **options} if options else name
