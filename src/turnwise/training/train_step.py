"""One optimizer step: gradient over micro-batches, check for loss spikes, update of the weights."""

import math
import time
from collections.abc import Callable, Sequence

from turnwise.core.errors import UserError
from turnwise.training.checkpoint_manager import CheckpointManager
from turnwise.training.device import restore_rng_state, rng_state
from turnwise.training.device_memory import REDUCE_MEMORY_HINT, is_out_of_memory
from turnwise.training.examples.dataset import PackedRow
from turnwise.training.gradient_accumulation import GradientResult, accumulate_gradients
from turnwise.training.hooks import StepReport
from turnwise.training.optim.loss_spikes import check_loss_spike
from turnwise.training.optim.lr_schedule import lr_factor
from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts.rollout_source import RolloutSource, StepRollouts
from turnwise.training.validation import StopRequested


class TrainStep:
    """Makes optimizer steps.

    Args:
        plan: model, data and settings of the run.
        checkpoints: holds the optimizers and the counters.
        should_stop: polled before every micro-batch.
        rollouts: source of sampled replies, which a step trains on in place of the data.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        checkpoints: CheckpointManager,
        should_stop: Callable[[], bool],
        rollouts: RolloutSource | None = None,
    ) -> None:
        self._plan, self._checkpoints, self._should_stop = plan, checkpoints, should_stop
        self._settings, self._rollouts = plan.recipe.training, rollouts
        self._sampled: StepRollouts | None = None
        state = checkpoints.state
        if state.micro_batch_size is None:  # a resumed run keeps the micro-batch size that fitted into memory
            state.micro_batch_size = self._settings.micro_batch_size

    def run(self, rows: Sequence[PackedRow]) -> StepReport:
        """Make one step over the given rows, this worker on its share of them.

        Raises:
            LossSpike: the loss is not finite or far above its running mean; no weight was changed.
            StopRequested: a stop signal arrived; the step can be repeated with the same random numbers.
        """
        start = time.perf_counter()
        plan = self._plan
        state = self._checkpoints.state
        metrics: dict[str, float] = {}
        if self._rollouts is not None:
            train = plan.data.train
            examples = [train.example(index, row.epoch) for row in rows for index in row.examples]
            self._sampled = self._rollouts.step(examples, state.step)
            metrics |= self._sampled.metrics
        plan.base.model.module.train()
        gradient = self._gradient(rows[plan.workers.rank :: plan.workers.world_size])
        factor = self._settings.loss_spike_factor if plan.recipe.objective.DETECTS_LOSS_SPIKES else math.inf
        state.mean_loss = check_loss_spike(state, gradient.loss, gradient.norm, factor)
        learning_rate = self._learning_rate()
        self._checkpoints.apply_optimizer_step(learning_rate)
        if self._rollouts is not None:
            metrics |= self._rollouts.finish_step()
        seconds = time.perf_counter() - start
        state.seconds += seconds
        state.useful_tokens += gradient.num_tokens
        return StepReport(
            state.step, gradient.loss, learning_rate, gradient.norm, gradient.num_tokens, seconds,
            {**gradient.extra_metrics, **metrics},
        )  # fmt: skip

    def _gradient(self, rows: Sequence[PackedRow]) -> GradientResult:
        """Compute the gradient; repeat with half the micro-batch size while it does not fit into memory."""
        device = self._plan.device
        rng = rng_state(device)
        while True:
            try:
                return self._accumulate(rows)
            except StopRequested:
                restore_rng_state(rng, device)  # a resumed run repeats the step with the same dropout and noise
                raise
            except (MemoryError, RuntimeError) as error:
                self._halve_micro_batch(error)
                restore_rng_state(rng, device)

    def _accumulate(self, rows: Sequence[PackedRow]) -> GradientResult:
        plan, settings, size = self._plan, self._settings, self.micro_batch_size
        if self._rollouts is not None and self._sampled is not None:
            batches = [batch.to(plan.device) for batch in self._rollouts.pack(self._sampled.examples, size)]
        else:
            batches = [plan.data.train.batch(rows[i : i + size]).to(plan.device) for i in range(0, len(rows), size)]
        return accumulate_gradients(
            plan.base.model, plan.recipe.objective, batches, max_grad_norm=settings.max_grad_norm, dtype=plan.dtype,
            neftune_noise_alpha=settings.neftune_noise_alpha, workers=plan.workers, stop=self._should_stop,
        )  # fmt: skip

    def _halve_micro_batch(self, error: Exception) -> None:
        """Halve the micro-batch size after an out-of-memory error.

        Raises:
            UserError: the micro-batch has a single row already, or other workers wait for this one.
            Exception: `error`, if it is of another kind.
        """
        if not is_out_of_memory(error):
            raise error
        if self.micro_batch_size == 1 or self._plan.workers.world_size > 1:
            raise UserError(
                f"A step no longer fits into memory. {REDUCE_MEMORY_HINT} The same command resumes the run."
            ) from error
        self._plan.base.model.module.zero_grad(set_to_none=True)
        self._checkpoints.state.micro_batch_size = self.micro_batch_size // 2

    @property
    def micro_batch_size(self) -> int:
        """Rows per forward pass."""
        limit = self._settings.micro_batch_size
        return min(limit, self._checkpoints.state.micro_batch_size or limit)

    def _learning_rate(self) -> float:
        """Learning rate of the next step."""
        settings, state = self._settings, self._checkpoints.state
        factor = lr_factor(
            state.step,
            total=self._plan.total_steps,
            warmup=self._plan.warmup_steps,
            schedule=settings.lr_schedule,
            final=settings.min_lr_ratio,
        )
        return state.lr_scale * settings.learning_rate * factor
