"""Logits processors: each changes the logits of one sequence depending on its tokens. One file per parameter.

A processor file has `ORDER`, its position in the chain, and `start(request) -> LogitsProcessor | None`; None if the
request does not use it. One that removes tokens also has `REASON`, a sentence with `{value}` that says why. Processors
run before the warpers (`engine/sampling/warpers/`), so log-probabilities are those of the distribution that they leave.

Present orders: repetition_penalty 10, frequency_penalty 20, presence_penalty 30, logit_bias 40,
no_repeat_ngram_size 50, min_tokens 60.
"""

from collections.abc import Mapping
from functools import cache
from typing import Protocol

from torch import Tensor

from turnwise.core.inference import GenerationRequest
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.core.plugins import PluginGroup


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


PROCESSORS: PluginGroup[ProcessorModule] = PluginGroup(
    "processor", "processors", (__name__, __path__), requires=("ORDER", "start"), declared_in=PARAMETER_SPECS
)


@cache
def load_processors() -> Mapping[str, ProcessorModule]:
    """All processor modules by parameter name, in the order in which they apply."""
    return dict(sorted(PROCESSORS.all().items(), key=lambda item: item[1].ORDER))


def start_processors(request: GenerationRequest) -> dict[str, LogitsProcessor]:
    """The processors that a request uses, by parameter name, in order."""
    started = ((name, module.start(request)) for name, module in load_processors().items())
    return {name: processor for name, processor in started if processor is not None}
