"""Processors: each changes the logits of one request by what it has said so far. One file each, named as its parameter.

A processor file has `ORDER`, its place in the chain, and `start(request) -> State | None`; None means that the request
does not want it. A state changes one row of logits in place and is told every token that was chosen. Processors come
before the warpers (`engine/sampling/warpers/`), so log-probabilities are reported of what they leave.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

from torch import Tensor

from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.core.ports import GenerationRequest


class LogitsProcessor(Protocol):
    """A processor at work for one request."""

    def apply(self, logits_V: Tensor) -> None:
        """Change the logits of the next token, in place."""

    def accept(self, token: int) -> None:
        """Learn which token was chosen."""

    def fork(self) -> "LogitsProcessor":
        """The same state for a second answer, which goes its own way from here."""


class ProcessorModule(Protocol):
    """What a processor file offers."""

    ORDER: int

    def start(self, request: GenerationRequest) -> LogitsProcessor | None:
        """A state for this request, or None where its parameter is off."""


@cache
def processors() -> Sequence[ProcessorModule]:
    """All processors in the order in which they apply."""
    found = {
        module.name: cast(ProcessorModule, import_module(f"{__name__}.{module.name}"))
        for module in iter_modules(__path__)
    }
    unknown = found.keys() - PARAMETER_SPECS.keys()
    assert not unknown, f"processors without a declared parameter: {unknown}"
    return sorted(found.values(), key=lambda processor: processor.ORDER)


def start_processors(request: GenerationRequest) -> list[LogitsProcessor]:
    """The states that this request wants, in order."""
    return [state for processor in processors() if (state := processor.start(request)) is not None]
