"""Queries to a system under test, and the results that metrics are computed from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.messages import Message
from turnwise.core.tools import Tool


@dataclass(frozen=True, slots=True)
class GenerationQuery:
    """A request to generate the next message.

    Attributes:
        history: messages to answer.
        greedy: True to take the most likely token at every step; sampling parameters then have no effect.
        temperature: sampling temperature. None: the system's own.
        tools: tools that the answer may call.
    """

    history: tuple[Message, ...]
    greedy: bool = False
    temperature: float | None = None
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class LoglikelihoodQuery:
    """A request to score the last of the messages, given those before it."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationOutput:
    """A generated message.

    Attributes:
        text: its text.
        num_tokens: generated tokens.
        finish_reason: "stop" or "length", as in the OpenAI reference.
    """

    text: str
    num_tokens: int = 0
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Loglikelihood:
    """The likelihood of a message.

    Attributes:
        nll: negative log-likelihood in nats, summed over its tokens.
        num_tokens: its tokens, including the end-of-turn token.
        num_bytes: size of its text in UTF-8.
    """

    nll: float
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The unit that a metric is computed on.

    Attributes:
        group: id of the dialogue or probe it belongs to. Samples of one group are resampled together.
        generation_queries, loglikelihood_queries: the queries it needs answered.
        reference: the reference reply; "" if there is none.
        metadata: further values for the metric and for reports.
    """

    group: str
    generation_queries: tuple[GenerationQuery, ...] = ()
    loglikelihood_queries: tuple[LoglikelihoodQuery, ...] = ()
    reference: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SampleResult:
    """Results of a sample's queries for one seed, in the order of the queries."""

    outputs: tuple[GenerationOutput, ...] = ()
    loglikelihoods: tuple[Loglikelihood, ...] = ()
