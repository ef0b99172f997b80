"""One file per objective; the folder is the registry and the file name is what a recipe says.

An objective has `encode(item, renderer)`, which turns a conversation or document into examples, and
`share(batch)`, the number that the summed cross-entropy of an optimiser step is divided by.
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.messages import Conversation
from turnwise.data.batches import Batch, Example
from turnwise.data.sources import Document
from turnwise.text.render import Renderer


class Objective(Protocol):
    """What an objective file offers."""

    def encode(self, item: Conversation | Document, renderer: Renderer) -> Iterator[Example]:
        """The examples in a conversation or document."""

    def share(self, batch: Batch) -> int:
        """What the summed loss is divided by: this batch's part of it."""


def names() -> list[str]:
    """The objectives there are."""
    return sorted(module.name for module in iter_modules(__path__))


def objective(name: str) -> Objective:
    """The objective of this name.

    Raises:
        InvalidParameter: there is none.
    """
    if name not in names():
        raise InvalidParameter("objective", f"There is no objective '{name}'; {did_you_mean(name, names())}")
    return cast(Objective, import_module(f"{__name__}.{name}"))
