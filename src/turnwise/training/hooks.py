"""Reports and results of a run, and the base class of hooks, which receive them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnwise.training.examples.dataset import DatasetSplits
    from turnwise.training.launch.preflight import PreflightReport
    from turnwise.training.plan import TrainingPlan
    from turnwise.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimizer step.

    Attributes:
        step: steps made so far.
        loss: mean loss per unit of the objective, such as a predicted token.
        learning_rate: learning rate of the step.
        grad_norm: gradient norm before clipping.
        useful_tokens: tokens in the step, without padding.
        seconds: duration of the step.
        extra_metrics: the objective's extra metrics per unit.
    """

    step: int
    loss: float
    learning_rate: float
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
        is_best: True if no earlier validation score was lower.
        extra_metrics: the objective's validation metrics.
        score: what early stopping compares (`Objective.validation_score`); None: the loss.
    """

    step: int
    loss: float
    is_best: bool
    extra_metrics: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None

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
        alpha: α.
        valid_loss: loss on validation data.
        retention_loss: loss on retention data; None without any.
    """

    alpha: float
    valid_loss: float
    retention_loss: float | None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Result of a run. Losses are means per unit of the objective; None without such data.

    Attributes:
        steps: optimizer steps made.
        best_step: step of the final weights.
        stopped_early: True if early stopping ended the run.
        seconds: time spent in optimizer steps.
        useful_tokens: tokens trained on, without padding.
        valid_before, test_before, retention_before: losses before training (validation, test and retention data).
        valid_after, test_after, retention_after: losses of the final weights.
        samples: replies before and after training.
        extra_metrics: the objective's extra metrics of the final weights on validation data.
        reply_metrics_before: metrics of sampled replies to held-out prompts before the first step, by their names in
            `extra_metrics`; empty if the objective samples none.
        rollbacks: number of rollbacks after loss spikes.
        interpolations: results of weight interpolation; () if it was off.
        alpha: α of the final weights; 1 without interpolation.
        seconds_per_reply: mean time to generate one of the samples.
        saved_as: dtype of the saved weights.
        stop_reason: why a guard of the objective ended the run, as a sentence; None if none did.
        rounding_error: relative error of the weight change caused by rounding to that dtype; None if there is none.
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
    retention_before: float | None = None
    retention_after: float | None = None
    rollbacks: int = 0
    interpolations: tuple[InterpolationResult, ...] = ()
    alpha: float = 1.0
    seconds_per_reply: float | None = None
    saved_as: str = "float32"
    rounding_error: float | None = None
    stop_reason: str | None = None
    reply_metrics_before: Mapping[str, float] = field(default_factory=dict)


class TrainerHook:
    """Receives the events of a run, in the order of the methods below. Subclasses override the ones they need.

    On several workers only the hooks of the main worker are called.
    """

    def on_row(self) -> None:
        """Called after every row of data that is parsed."""

    def on_replay(self, count: int, total: int) -> None:
        """Called after each of the `total` replies for self-distillation replay."""

    def on_data(self, data: "DatasetSplits") -> None:
        """Called with the tokenized examples of the run."""

    def on_reference(self, count: int, total: int) -> None:
        """Called with the number of examples whose reference log-probabilities are known, after every batch of them."""

    def on_warm_up(self, what: str, count: int, total: int) -> None:
        """Called with what is trained before the first step, such as a discriminator, and its steps."""

    def on_preflight(self, recipe: "Recipe", report: "PreflightReport") -> None:
        """Called before the first step with the resolved recipe and the measurements; not in a resumed run."""

    def on_prompt_scored(self, number: int, loss: float) -> None:
        """Called with the number and the loss of every candidate of the method `prompt`."""

    def on_plan(self, plan: "TrainingPlan") -> None:
        """Called with the model and all settings, before training starts or continues."""

    def on_train_begin(self, *, total_steps: int, step: int) -> None:
        """Called when training starts or continues after `step` steps."""

    def on_step_end(self, report: StepReport) -> None:
        """Called after every optimizer step."""

    def on_evaluate(self, report: ValidationReport) -> None:
        """Called after every validation."""

    def on_train_end(self) -> None:
        """Called when training ends, also after an error and before a rollback."""


def perplexity(loss: float) -> float:
    """exp(loss), capped to avoid overflow."""
    return math.exp(min(loss, 700.0))
