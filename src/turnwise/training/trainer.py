"""The training loop: optimizer steps, validation, checkpoints, early stopping and recovery from loss spikes."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.models.language_model import LanguageModel
from turnwise.training.checkpoint_files import BEST, START, TrainerState
from turnwise.training.checkpoint_manager import CheckpointManager
from turnwise.training.device import compute_dtype, restore_rng_state, rng_state
from turnwise.training.device_memory import is_out_of_memory
from turnwise.training.distributed.worker_group import SINGLE_PROCESS, WorkerGroup
from turnwise.training.examples.dataset import Dataset, DatasetSplits, PackedRow
from turnwise.training.gradient_accumulation import GradientResult, accumulate_gradients
from turnwise.training.hooks import InterpolationResult, StepReport, TrainerHook, TrainingResult, ValidationReport
from turnwise.training.launch.throughput_probe import REDUCE_MEMORY_HINT
from turnwise.training.optim.loss_spikes import LossSpike, check_loss_spike, divergence_error
from turnwise.training.optim.lr_schedule import lr_factor
from turnwise.training.recipe import Recipe, TrainingSection
from turnwise.training.stop_signals import TrainingInterrupted, capture_stop_signals
from turnwise.training.validation import StopRequested, evaluate_loss
from turnwise.training.weight_selection import load_best_interpolation, load_best_weights


def total_steps(dataset: Dataset, settings: TrainingSection) -> int:
    """Number of optimizer steps in a run."""
    if settings.max_steps is not None:
        return settings.max_steps
    return max(1, round(len(dataset.rows()) * settings.epochs / settings.rows))


def _check_settings(recipe: Recipe, data: DatasetSplits, workers: WorkerGroup) -> None:
    """Raise `InvalidParameter` for settings that cannot be combined."""
    settings = recipe.training
    if settings.rows < workers.world_size:
        raise InvalidParameter(
            "training.rows", f"'rows' is {settings.rows}: {workers.world_size} workers need one each."
        )
    if settings.interpolate and not len(data.valid):
        raise InvalidParameter(
            "training.interpolate", "'interpolate' needs validation data. Set 'data.valid' or 'data.valid_fraction'."
        )
    if settings.interpolate and not recipe.method.INTERPOLATABLE:
        raise InvalidParameter("training.interpolate", "'interpolate' needs full weights; it cannot be used with LoRA.")


class Trainer:
    """Trains a model by a recipe.

    If `work` holds a checkpoint, the run continues from it and ends with the same weights as an uninterrupted run.

    Args:
        recipe: complete recipe.
        model: prepared by the recipe's method; parameters without gradient stay as they are.
        data: tokenized examples of all splits.
        work: folder of checkpoints and snapshots.
        hooks: receive progress reports; on several workers only the main worker has any.
        device: where to train; default: where the model is.
        recipe_text: recipe as stored in checkpoints; default: `recipe.dump()`.
        workers: the processes that train together.
        stop: polled after every step; True writes a checkpoint and ends the run, as Ctrl-C does.

    Raises:
        InvalidParameter: the checkpoint was made with other data, or settings cannot be combined.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: LanguageModel,
        data: DatasetSplits,
        *,
        work: Path,
        hooks: Sequence[TrainerHook] = (),
        device: torch.device | None = None,
        recipe_text: str | None = None,
        workers: WorkerGroup = SINGLE_PROCESS,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.workers, self.should_stop = workers, stop
        self._stop_between_batches: Callable[[], bool] = lambda: False
        self.recipe, self.settings, self.objective = recipe, recipe.training, recipe.objective
        self.module = model.module
        self.device = device or next(self.module.parameters()).device
        self.module.to(self.device)
        self.model, self.data = model, data
        self.work, self.hooks = work, hooks
        self.dtype = compute_dtype(self.settings, self.device)
        _check_settings(recipe, data, workers)
        for split in (data.train, data.valid, data.test, data.general):
            split.compute_ref_logprobs(model, self.device, self.dtype, self.settings.micro_rows)
        self.total = total_steps(data.train, self.settings)
        self.validate_every = self.settings.validate_every or max(10, self.total // 20)
        self.checkpoints = CheckpointManager(
            self.module,
            self.settings,
            work=work,
            data=data.fingerprint,
            recipe=recipe_text or recipe.dump(),
            workers=workers,
        )
        if self.state.micro_rows is None:  # a resumed run keeps the micro-batch size that fitted into memory
            self.state.micro_rows = self.settings.micro_rows
        if self.settings.compile:
            self.module.compile()

    @property
    def state(self) -> TrainerState:
        """Counters and losses of the run, as stored in checkpoints."""
        return self.checkpoints.state

    @property
    def stopped_early(self) -> bool:
        """True if validation has not improved `patience` times in a row."""
        return 0 < self.settings.patience <= self.state.bad_validations

    @property
    def is_finished(self) -> bool:
        """True if no step is left."""
        return self.state.step >= self.total or self.stopped_early

    def run(self) -> TrainingResult:
        """Train until the last step or until early stopping, then load the best weights.

        Raises:
            TrainingInterrupted: a signal or `stop` ended the run; a checkpoint was written.
            TurnwiseError: training diverged. The last checkpoint is from before.
            SaveFailed: the disk is full or not writable. The last checkpoint is intact.
        """
        is_new = self.state.step == 0 and not self.state.rollbacks
        before = self._evaluate_base() if is_new else None
        with ExitStack() as stack:
            for hook in self.hooks:
                stack.callback(hook.end)
                hook.start(total_steps=self.total, step=self.state.step)
            if before is not None:
                self._report_validation(before)
            self._train()
        load_best_weights(self.checkpoints, validated=len(self.data.valid) > 0)
        mixes, share = self._interpolate() if self.settings.interpolate else ((), 1.0)
        valid, test, general = self._evaluate_splits()
        return TrainingResult(
            steps=self.state.step,
            best_step=self.state.best_step if self.state.best_loss is not None else self.state.step,
            stopped_early=self.stopped_early,
            seconds=self.state.seconds,
            useful_tokens=self.state.useful_tokens,
            valid_before=self.state.valid_before,
            valid_after=None if valid is None else valid.loss,
            test_before=self.state.test_before,
            test_after=None if test is None else test.loss,
            extra_metrics={} if valid is None else valid.extra_metrics,
            general_before=self.state.general_before,
            general_after=None if general is None else general.loss,
            rollbacks=self.state.rollbacks,
            mixes=mixes,
            share=share,
        )

    def _evaluate_splits(self) -> tuple[ValidationReport | None, ...]:
        """Evaluate the validation, test and retention splits, in this order."""
        return tuple(map(self.evaluate_loss, (self.data.valid, self.data.test, self.data.general)))

    def _evaluate_base(self) -> ValidationReport | None:
        """Evaluate the weights before the first step and save them as snapshots."""
        torch.manual_seed(self.settings.seed)  # for dropout and NEFTune; checkpoints store the generator's state
        valid, test, general = self._evaluate_splits()
        self.state.valid_before = self.state.best_loss = None if valid is None else valid.loss
        self.state.test_before = None if test is None else test.loss
        self.state.general_before = None if general is None else general.loss
        self.checkpoints.save_snapshot(START)
        if valid is not None:
            self.checkpoints.save_snapshot(BEST)  # a run that never improves returns the base weights
        return valid

    def _interpolate(self) -> tuple[tuple[InterpolationResult, ...], float]:
        """Load the best interpolation of base and tuned weights; return all results and its α."""

        def evaluate() -> tuple[float, float | None]:
            valid, general = self.evaluate_loss(self.data.valid), self.evaluate_loss(self.data.general)
            assert valid is not None, "checked before the run"
            return valid.loss, None if general is None else general.loss

        before = self.state.general_before
        max_retention_loss = None if before is None else before * (1 + self.settings.forget)
        return load_best_interpolation(self.checkpoints, evaluate, max_retention_loss)

    def _train(self) -> None:
        """Run the loop with signal handlers installed; turn a stop request into a checkpoint."""
        with capture_stop_signals() as signum:
            if self.workers.world_size == 1:  # several workers must agree, which they do only after a step
                self._stop_between_batches = lambda: signum() != 0
            try:
                self._train_until(lambda: signum() != 0 or self.should_stop())
            except StopRequested:
                self.module.zero_grad(set_to_none=True)
                self.checkpoints.save()
                raise TrainingInterrupted(signum() or signal.SIGINT) from None

    def _train_until(self, stop: Callable[[], bool]) -> None:
        rows = self._remaining_rows()
        if self._is_validation_due and self.state.validated < self.state.step:
            self.validate()  # the checkpoint was written before the validation of its step
            if self.state.step % self.settings.save_every == 0:
                self.checkpoints.save(rollback=True)
        while not self.is_finished:
            try:
                report = self.optimizer_step([next(rows) for _ in range(self.settings.rows)])
            except LossSpike as spike:
                self.checkpoints.roll_back(spike)
                rows = self._remaining_rows()
                for hook in self.hooks:
                    hook.end()
                    hook.start(total_steps=self.total, step=self.state.step)
                continue
            for hook in self.hooks:
                hook.step(report)
            self._validate_and_save(stop())

    def _validate_and_save(self, stop: bool) -> None:
        """Validate and write a checkpoint after a step, where due.

        Raises:
            StopRequested: `stop` is True for one of the workers.
        """
        # The clock of the main worker decides, since all workers must take part in writing a checkpoint.
        is_due = self.checkpoints.is_due and self.workers.is_main
        stop, is_due = (total > 0 for total in self.workers.all_reduce_sum([float(stop), float(is_due)]))
        if self._is_validation_due:
            if is_due:
                self.checkpoints.save()  # before validation, which can take long
            self.validate()
        if self.is_finished or self.state.step % self.settings.save_every == 0:
            self.checkpoints.save(rollback=True)
        elif stop or is_due:
            self.checkpoints.save()
        if stop:
            raise StopRequested

    @property
    def _is_validation_due(self) -> bool:
        step = self.state.step
        return step > 0 and (step % self.validate_every == 0 or step == self.total)

    def _remaining_rows(self) -> Iterator[PackedRow]:
        return self.data.train.stream(skip=self.state.step * self.settings.rows + self.state.skipped_rows)

    def optimizer_step(self, rows: Sequence[PackedRow]) -> StepReport:
        """Make one optimizer step over the given rows.

        Raises:
            LossSpike: the loss is not finite or far above its running mean; no weight was changed.
            StopRequested: a stop signal arrived; the step can be repeated with the same random numbers.
        """
        start = time.perf_counter()
        self.module.train()
        local_rows = rows[self.workers.rank :: self.workers.world_size]
        rng = rng_state(self.device)
        while True:
            try:
                gradient = self._compute_gradient(local_rows)
                break
            except StopRequested:
                restore_rng_state(rng, self.device)  # a resumed run repeats the step with the same dropout and noise
                raise
            except (MemoryError, RuntimeError) as error:
                self._halve_micro_batch(error)
                restore_rng_state(rng, self.device)
        self.state.mean_loss = check_loss_spike(self.state, gradient.loss, gradient.norm, self.settings.spike)
        learning_rate = self._learning_rate()
        self.checkpoints.apply_optimizer_step(learning_rate)
        seconds = time.perf_counter() - start
        self.state.seconds += seconds
        self.state.useful_tokens += gradient.num_tokens
        return StepReport(
            self.state.step, gradient.loss, learning_rate, gradient.norm, gradient.num_tokens, seconds,
            gradient.extra_metrics,
        )  # fmt: skip

    def _compute_gradient(self, rows: Sequence[PackedRow]) -> GradientResult:
        size = self.micro_rows
        batches = [self.data.train.batch(rows[i : i + size]).to(self.device) for i in range(0, len(rows), size)]
        return accumulate_gradients(
            self.model, self.objective, batches, clip_norm=self.settings.clip_norm, dtype=self.dtype,
            neftune=self.settings.neftune, workers=self.workers, stop=self._stop_between_batches,
        )  # fmt: skip

    def _halve_micro_batch(self, error: Exception) -> None:
        """Halve the micro-batch size after an out-of-memory error.

        Raises:
            UserError: the micro-batch has a single row already, or other workers wait for this one.
            Exception: `error`, if it is of another kind.
        """
        if not is_out_of_memory(error):
            raise error
        if self.micro_rows == 1 or self.workers.world_size > 1:
            raise UserError(
                f"A step no longer fits into memory. {REDUCE_MEMORY_HINT} The same command continues the run."
            ) from error
        self.module.zero_grad(set_to_none=True)
        self.state.micro_rows = self.micro_rows // 2

    @property
    def micro_rows(self) -> int:
        """Rows per micro-batch."""
        return min(self.settings.micro_rows, self.state.micro_rows or self.settings.micro_rows)

    def _learning_rate(self) -> float:
        """Learning rate of the next step."""
        settings = self.settings
        factor = lr_factor(
            self.state.step,
            total=self.total,
            warmup=max(1, round(self.total * settings.warmup)),
            schedule=settings.schedule,
            final=settings.final_rate,
        )
        return self.state.rate_scale * settings.learning_rate * factor

    def validate(self) -> None:
        """Evaluate the validation split and save a snapshot if the loss is the lowest so far."""
        with self.checkpoints.with_averaged_weights():
            report = self.evaluate_loss(self.data.valid)
            self.state.validated = self.state.step
            if report is None:
                return
            if report.best:
                self.state.best_loss, self.state.best_step = report.loss, self.state.step
                self.state.bad_validations = 0
                self.checkpoints.save_snapshot(BEST)
            else:
                self.state.bad_validations += 1
        self._report_validation(report)

    def _report_validation(self, report: ValidationReport) -> None:
        for hook in self.hooks:
            hook.validation(report)

    def evaluate_loss(self, dataset: Dataset) -> ValidationReport | None:
        """Evaluate a split; None if it is empty.

        Raises:
            TurnwiseError: the loss is not finite.
        """
        held_out = evaluate_loss(
            self.model, dataset, size=self.micro_rows, device=self.device, dtype=self.dtype,
            workers=self.workers, stop=self._stop_between_batches,
        )  # fmt: skip
        if held_out is None:
            return None
        if not math.isfinite(held_out.loss):
            raise divergence_error(self.work, self.state, self.settings.learning_rate, "the loss on held-out data")
        best = self.state.best_loss is None or held_out.loss < self.state.best_loss or self.state.step == 0
        return ValidationReport(self.state.step, held_out.loss, best, held_out.extra_metrics)
