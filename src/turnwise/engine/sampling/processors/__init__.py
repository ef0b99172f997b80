"""Logits processors: each changes the logits of one sequence depending on its tokens. One file per parameter.

A processor file has `ORDER`, its position in the chain, and `start(request) -> LogitsProcessor | None`; None if the
request does not use it. Processors run before the warpers (`engine/sampling/warpers/`), so log-probabilities are those
of the distribution that they leave.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

from torch import Tensor

from turnwise.core.inference import GenerationRequest
from turnwise.core.parameters import PARAMETER_SPECS


class LogitsProcessor(Protocol):
    """A processor with its state for one sequence."""

    def apply(self, logits_V: Tensor) -> None:
        """Modify the logits of the next token in place."""

    def accept(self, token_id: int) -> None:
        """Update the state with the sampled token."""

    def fork(self) -> "LogitsProcessor":
        """An independent copy for another hypothesis."""


class ProcessorModule(Protocol):
    """Interface of a processor file."""

    ORDER: int

    def start(self, request: GenerationRequest) -> LogitsProcessor | None:
        """A processor for this request, or None if its parameter is off."""


@cache
def load_processors() -> Sequence[ProcessorModule]:
    """All processor modules, in the order in which they apply."""
    modules = {
        module.name: cast(ProcessorModule, import_module(f"{__name__}.{module.name}"))
        for module in iter_modules(__path__)
    }
    undeclared = modules.keys() - PARAMETER_SPECS.keys()
    assert not undeclared, f"processors without a declared parameter: {undeclared}"
    return sorted(modules.values(), key=lambda module: module.ORDER)


def start_processors(request: GenerationRequest) -> list[LogitsProcessor]:
    """The processors that a request uses, in order."""
    return [processor for module in load_processors() if (processor := module.start(request)) is not None]
