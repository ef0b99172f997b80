"""One file per kind of file that holds rows: JSON in its layouts, tables, Parquet. The rows' shape is another layer.

A container file has `sniff(sample) -> float`, how sure it is that a file is its own, `values(file, sample, renamed)`,
the rows as JSON-like values with their numbers, and `UNIT`, what a number counts. `renamed` turns the names of a
table's columns into ours, so that its delimiter can be told by a header that makes sense.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from turnwise.core.plugins import PluginGroup
from turnwise.data.rows import BadRow, FileSample

Value = tuple[int, Any] | BadRow
RenameColumns = Callable[[Sequence[str]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Container:
    """A container's contract, see this package's docstring."""

    name: str
    unit: str
    sniff: Callable[[FileSample], float]
    values: Callable[[BinaryIO, FileSample, RenameColumns], Iterator[Value]]


CONTAINERS: PluginGroup[Container] = PluginGroup(
    "container",
    "containers",
    (__name__, __path__),
    requires=("UNIT", "sniff", "values"),
    build=lambda name, module: Container(name, module.UNIT, module.sniff, module.values),
)
container_names, load_container = CONTAINERS.names, CONTAINERS.load


def detect_container(sample: FileSample) -> tuple[float, Container]:
    """The container that is surest of a file, and how sure it is."""
    found = [(container.sniff(sample), container) for container in map(load_container, container_names())]
    return max(found, key=lambda pair: pair[0])
