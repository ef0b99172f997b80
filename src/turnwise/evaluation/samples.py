"""What is asked of whatever is evaluated: answers to what was said, and how likely what was said is to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.messages import Message
from turnwise.core.tools import Tool


@dataclass(frozen=True, slots=True)
class GenerationQuery:
    """A history that is to be answered.

    Attributes:
        history: what was said.
        greedy: the likeliest answer is wanted, whatever is served otherwise.
        temperature: of the draw; None leaves it as it is served.
        tools: what may be called.
    """

    history: tuple[Message, ...]
    greedy: bool = False
    temperature: float | None = None
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class LoglikelihoodQuery:
    """A dialogue whose last message is to be scored."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationOutput:
    """What came back.

    Attributes:
        text: the answer.
        tokens: how many it took.
        finish: how it ended, such as "stop" or "length".
    """

    text: str
    num_tokens: int = 0
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Loglikelihood:
    """How surprising a text was.

    Attributes:
        nats: its negative log-probability.
        tokens: that it was cut into, ends of turns among them.
        bytes: of its text, UTF-8.
    """

    nll: float
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing that a metric looks at.

    Attributes:
        group: the dialogue, or the probe, that it is of: those of one are resampled together.
        asks, scores: what is wanted for it.
        reference: what a person said there.
        about: whatever else the metric needs, and what a report may show.
    """

    group: str
    generation_queries: tuple[GenerationQuery, ...] = ()
    loglikelihood_queries: tuple[LoglikelihoodQuery, ...] = ()
    reference: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What came back for an item, in the order of what was asked: its answers with one seed, and its scores."""

    outputs: tuple[GenerationOutput, ...] = ()
    loglikelihoods: tuple[Loglikelihood, ...] = ()
