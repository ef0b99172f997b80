"""Systems under test and their capabilities.

A system under test implements one protocol for each thing that it can do; a metric names the protocols that it needs in
`REQUIRES`. A metric is not applicable to a system that lacks one of them.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from turnwise.evaluation.samples import GenerationOutput, GenerationQuery, Loglikelihood, LoglikelihoodQuery

EMPTY_GENERATION = GenerationOutput("", 0, "length")  # the output for a history that exceeds the context length

OnQueriesDone = Callable[[int], None]
"""Receives the number of queries that finished since the last call."""


class SystemUnderTest(Protocol):
    """A system to evaluate: a model behind an engine, or a baseline.

    Attributes:
        name: the name in reports.
    """

    name: str


@runtime_checkable
class TextGenerator(Protocol):
    """Capability: generates answers."""

    def generate(
        self, queries: Sequence[tuple[GenerationQuery, int]], on_done: OnQueriesDone
    ) -> list[GenerationOutput]:
        """Return one answer per query and seed, in the order of `queries`."""


@runtime_checkable
class LoglikelihoodScorer(Protocol):
    """Capability: computes log-likelihoods of texts."""

    def loglikelihood(self, queries: Sequence[LoglikelihoodQuery], on_done: OnQueriesDone) -> list[Loglikelihood]:
        """Return the log-likelihood of the last message of each query, in the order of `queries`."""


CAPABILITY_LABELS: dict[type, str] = {
    TextGenerator: "text generation",
    LoglikelihoodScorer: "log-likelihoods",
}


def missing_capabilities(system: SystemUnderTest, required: Sequence[type]) -> list[str]:
    """Return the labels of the required capabilities that a system does not have."""
    return [CAPABILITY_LABELS[capability] for capability in required if not isinstance(system, capability)]
