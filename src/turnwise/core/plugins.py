"""Plug-ins: a kind of which there is one file each, found in a folder of this package and in other installed packages.

Every kind (warpers, data formats, metrics, ...) is one `PluginGroup`. Its modules are its plug-ins; the file name is
the name that requests, recipes and flags use. Another package adds one without a change here, by an entry point in its
`pyproject.toml` that names a module with the same contract::

    [project.entry-points."turnwise.warpers"]
    my_warper = "my_package.my_warper"

Modules are imported when they are first asked for, so listing the names stays cheap.
"""

import sys
from collections.abc import Callable, Collection, Container, Iterable
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pkgutil import iter_modules
from threading import RLock
from types import ModuleType
from typing import Generic, TypeVar, cast

from turnwise.core.errors import InvalidParameter, UserError, did_you_mean

T = TypeVar("T")
LONGEST_NAME = 60  # characters of an unknown name that an error repeats


class InvalidPlugin(UserError):
    """An installed plug-in cannot be imported, lacks a part of its contract, or takes a name that is taken."""

    code = "invalid_plugin"


class UnknownPlugin(InvalidParameter):
    """No plug-in has this name; the message names the nearest one."""


class PluginGroup(Generic[T]):
    """All plug-ins of one kind.

    Args:
        kind: the kind in the singular, for messages: "metric".
        group: the kind in the plural, without blanks. The entry-point group is `turnwise.<group>`.
        package: the package whose modules are the built-in plug-ins, and its search path: `__name__, __path__`.
        requires: attributes that a plug-in module must have.
        build: makes the plug-in from its name and module. Default: the module is the plug-in.
        parameter: the field, flag or recipe key that names a plug-in, for errors. Default: `kind`.
        exclude: modules of the package that are no plug-ins; neither are those that begin with an underscore.
        declared_in: names that a plug-in may have, such as the declared parameters. Default: any name.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        package: tuple[str, Iterable[str]],
        *,
        requires: Collection[str] = (),
        build: Callable[[str, ModuleType], T] | None = None,
        parameter: str | None = None,
        exclude: Collection[str] = (),
        declared_in: Container[str] | None = None,
    ) -> None:
        self.kind, self.group, self.requires = kind, f"turnwise.{group}", tuple(requires)
        self._package, self._path = package
        self._exclude, self._declared_in = frozenset(exclude), declared_in
        self._build = build or (lambda _, module: cast(T, module))
        self._parameter = parameter or kind
        self._loaded: dict[str, T] = {}
        self._lock = RLock()

    def names(self) -> tuple[str, ...]:
        """Names of all plug-ins in alphabetical order, without importing the built-in ones.

        Raises:
            InvalidPlugin: two plug-ins have the same name.
        """
        return self._names

    def load(self, name: str) -> T:
        """The plug-in called `name`; the same object at every call.

        Raises:
            UnknownPlugin: there is none of this name.
            InvalidPlugin: it cannot be imported, or does not keep the contract of its kind.
        """
        if name not in self._names:
            short = str(name)[:LONGEST_NAME]
            raise UnknownPlugin(
                self._parameter, f"There is no {self.kind} '{short}'; {did_you_mean(short, self._names)}"
            )
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._build(name, self._module(name))
            return self._loaded[name]

    def all(self) -> dict[str, T]:
        """All plug-ins by name, in alphabetical order. Raises `InvalidPlugin`."""
        return {name: self.load(name) for name in self._names}

    @cached_property
    def _built_in(self) -> frozenset[str]:
        names = {module.name for module in iter_modules(self._path)}
        return frozenset(name for name in names - self._exclude if not name.startswith("_"))

    @cached_property
    def _entry_points(self) -> dict[str, EntryPoint]:
        points: dict[str, EntryPoint] = {}
        for point in _installed_entry_points(tuple(sys.path)).select(group=self.group):
            if point.name in self._built_in or point.name in points:
                raise InvalidPlugin(
                    f"Two plug-ins are called {self.kind} '{point.name}'; {_origin(point)} has to rename its own."
                )
            points[point.name] = point
        return points

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(sorted(self._built_in | self._entry_points.keys()))

    def _module(self, name: str) -> ModuleType:
        if name in self._built_in:
            module = import_module(f"{self._package}.{name}")
            assert all(hasattr(module, attribute) for attribute in self.requires), (
                f"{module} lacks a required attribute"
            )
            return module
        point = self._entry_points[name]
        try:
            module = import_module(point.value)
        except Exception as error:  # it is code of others: whatever it raises, the message has to say whose it is
            raise InvalidPlugin(f"The {self.kind} '{name}' of {_origin(point)} cannot be imported: {error}") from error
        if missing := [attribute for attribute in self.requires if not hasattr(module, attribute)]:
            raise InvalidPlugin(
                f"The {self.kind} '{name}' of {_origin(point)} is incomplete: '{point.value}' has no '{missing[0]}'."
            )
        if self._declared_in is not None and name not in self._declared_in:
            raise InvalidPlugin(
                f"The {self.kind} '{name}' of {_origin(point)} has no parameter: add an entry point '{name}' to the "
                "group 'turnwise.parameters'."
            )
        return module


@lru_cache(maxsize=2)
def _installed_entry_points(search_path: tuple[str, ...]) -> EntryPoints:  # noqa: ARG001
    """The entry points of all installed packages. Cached, because a scan reads a file of every package."""
    return cast(EntryPoints, entry_points())  # in Python 3.11 another class with the same `select`


def find_subclass(module: ModuleType, base: type[T]) -> type[T]:
    """The one public subclass of `base` that a module defines. Raises `InvalidPlugin` for none or several."""
    classes = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and issubclass(value, base)
        and name[0] != "_"
    ]
    if len(classes) != 1:
        raise InvalidPlugin(
            f"'{module.__name__}' should define one subclass of '{base.__name__}'; it defines {len(classes) or 'none'}."
        )
    return classes[0]


def _origin(point: EntryPoint) -> str:
    """The installed package that an entry point belongs to, for messages."""
    return f"the package '{point.dist.name}'" if point.dist is not None else "another package"
