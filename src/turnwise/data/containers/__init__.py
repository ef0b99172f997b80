"""Containers, one file each: JSON, CSV and Parquet files as streams of rows. The shape of a row is up to `formats`.

A container module has

- `UNIT`: what row numbers count, "line" or "row";
- `sniff(sample) -> float`: the confidence, from 0 to 1, that a file is of this kind;
- `values(file, sample, rename_columns) -> Iterator[NumberedValue]`: the rows as numbered JSON-like values.
  `rename_columns` maps the column names of a table to the standard names, by which its delimiter is detected.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from turnwise.core.plugins import PluginGroup
from turnwise.data.rows import FileSample, NumberedValue

RenameColumns = Callable[[Sequence[str]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Container:
    """A container module; see the docstring of this package."""

    name: str
    unit: str
    sniff: Callable[[FileSample], float]
    values: Callable[[BinaryIO, FileSample, RenameColumns], Iterator[NumberedValue]]


CONTAINERS: PluginGroup[Container] = PluginGroup(
    "container",
    "containers",
    (__name__, __path__),
    requires=("UNIT", "sniff", "values"),
    build=lambda name, module: Container(name, module.UNIT, module.sniff, module.values),
)
container_names, load_container = CONTAINERS.names, CONTAINERS.load


def detect_container(sample: FileSample) -> tuple[float, Container]:
    """Return the container with the highest confidence for a file, preceded by this confidence."""
    scores = [(container.sniff(sample), container) for container in map(load_container, container_names())]
    return max(scores, key=lambda pair: pair[0])
