"""Progress reports and results of a run, and the protocol of the hooks that receive them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimizer step.

    Attributes:
        step: steps made so far.
        loss: mean loss per unit of the objective, such as a predicted token.
        rate: learning rate of the step.
        grad_norm: gradient norm before clipping.
        useful_tokens: tokens in the step, without padding.
        seconds: duration of the step.
        extra_metrics: the objective's extra metrics per unit.
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
    """Loss on held-out data after `step` steps.

    Attributes:
        step: steps made so far.
        loss: mean loss per unit of the objective.
        best: True if no earlier validation loss was lower.
        extra_metrics: the objective's extra metrics per unit.
    """

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
    """Replies to a held-out dialogue before and after training.

    Attributes:
        question: last message before the reply.
        reply: reference reply from the data.
        before: greedy reply of the model before training.
        after: greedy reply of the model after training.
    """

    question: str
    reply: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class InterpolationResult:
    """Losses of the weights (1−α)·base + α·tuned.

    Attributes:
        share: α.
        valid: loss on validation data.
        general: loss on retention data; None without any.
    """

    share: float
    valid: float
    general: float | None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Result of a run. Losses are means per unit of the objective; None without such data.

    Attributes:
        steps: optimizer steps made.
        best_step: step of the weights that were kept.
        stopped_early: True if early stopping ended the run.
        seconds: time spent in optimizer steps.
        useful_tokens: tokens trained on, without padding.
        valid_before, test_before, general_before: losses before training (validation, test and retention data).
        valid_after, test_after, general_after: losses of the final weights.
        samples: replies before and after training.
        extra_metrics: the objective's extra metrics of the final weights on validation data.
        rollbacks: number of rollbacks after loss spikes.
        mixes: results of weight interpolation; () if it was off.
        share: α of the final weights; 1 without interpolation.
        answer_seconds: mean time to generate one of the samples.
        saved_as: dtype of the saved weights.
        rounding: relative error of the weight change caused by rounding to that dtype; None if there is none.
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
    mixes: tuple[InterpolationResult, ...] = ()
    share: float = 1.0
    answer_seconds: float | None = None
    saved_as: str = "float32"
    rounding: float | None = None


class TrainerHook(Protocol):
    """Receives progress reports of a run."""

    def start(self, *, total_steps: int, step: int) -> None:
        """Called when training starts or continues after `step` steps."""

    def step(self, report: StepReport) -> None:
        """Called after every optimizer step."""

    def validation(self, report: ValidationReport) -> None:
        """Called after every validation."""

    def end(self) -> None:
        """Called when training ends, also after an error."""


def perplexity(loss: float) -> float:
    """exp(loss), capped to avoid overflow."""
    return math.exp(min(loss, 700.0))
