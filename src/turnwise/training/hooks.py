"""What a run tells those who watch it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimiser step.

    `loss` and `figures` are per unit of the objective (a predicted token, mostly), `useful_tokens` leaves padding out.
    """

    step: int
    loss: float
    rate: float
    grad_norm: float
    useful_tokens: int
    seconds: float
    extra_metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Loss per unit on held-out data after `step` steps; `best` where none was lower before."""

    step: int
    loss: float
    best: bool
    extra_metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return perplexity(self.loss)


@dataclass(frozen=True, slots=True)
class ReplySample:
    """What the model says in a held-out dialogue, before and after.

    Attributes:
        question: the last message before the reply.
        reply: what was really said.
        before, after: the model's own answers, greedy.
    """

    question: str
    reply: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class InterpolationResult:
    """Weights a `share` of the way from the base to what was learned, and their losses."""

    share: float
    valid: float
    general: float | None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended. Losses are per unit of the objective; None where there is no such data.

    Attributes:
        figures: what else the objective watches, on validation data at the end.
        general_before, general_after: the loss on what should not be forgotten.
        rollbacks: how often the run went back to a checkpoint.
        mixes: what was measured between base and tuned weights, where that was asked for.
        share: how much of the way was taken.
        answer_seconds: that one of the sample answers took.
        saved_as: the type of the saved weights.
        rounding: the share of the change that was lost by rounding to it; None where that is nothing.
    """

    steps: int
    best_step: int
    stopped_early: bool
    seconds: float
    useful_tokens: int
    valid_before: float | None
    valid_after: float | None
    test_before: float | None
    test_after: float | None
    samples: tuple[ReplySample, ...] = ()
    extra_metrics: Mapping[str, float] = field(default_factory=dict)
    general_before: float | None = None
    general_after: float | None = None
    rollbacks: int = 0
    mixes: tuple["InterpolationResult", ...] = ()
    share: float = 1.0
    answer_seconds: float | None = None
    saved_as: str = "float32"
    rounding: float | None = None


class TrainerHook(Protocol):
    """Watches a run; every method may do nothing."""

    def start(self, *, total_steps: int, step: int) -> None:
        """Training begins, or goes on at `step`."""

    def step(self, report: StepReport) -> None:
        """A step was made."""

    def validation(self, report: ValidationReport) -> None:
        """Held-out data was measured."""

    def end(self) -> None:
        """Training is over, well or not."""


def perplexity(loss: float) -> float:
    """exp(loss), without overflow for hopeless models."""
    return math.exp(min(loss, 700.0))
