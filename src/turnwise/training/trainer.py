"""The training loop: one optimiser step after another, validation and checkpoints now and then."""

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
    """Optimiser steps in the run."""
    if settings.max_steps is not None:
        return settings.max_steps
    return max(1, round(len(dataset.rows()) * settings.epochs / settings.rows))


def _refuse(recipe: Recipe, data: DatasetSplits, workers: WorkerGroup) -> None:
    """Raise `InvalidParameter` for settings that go together with nothing."""
    said = recipe.training
    if said.rows < workers.world_size:
        raise InvalidParameter("training.rows", f"'rows' is {said.rows}: {workers.world_size} workers need one each.")
    if said.interpolate and not len(data.valid):
        raise InvalidParameter("training.interpolate", "'interpolate' chooses by validation data: name some.")
    if said.interpolate and not recipe.method.INTERPOLATABLE:
        raise InvalidParameter(
            "training.interpolate", "'interpolate' mixes weights with the base's, which thin matrices have none of."
        )


class Trainer:
    """One run: a model, data and a recipe.

    `work` is where checkpoints go. A run that finds one there goes on from it and ends with the same weights as if it
    had never stopped.

    Raises:
        InvalidParameter: the checkpoint was made with other data.
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
        self._is_stopping: Callable[[], bool] = lambda: False
        self.recipe, self.settings, self.objective = recipe, recipe.training, recipe.objective
        self.module = model.module
        self.device = device or next(self.module.parameters()).device
        self.module.to(self.device)
        self.model, self.data = model, data
        self.work, self.hooks = work, hooks
        self.dtype = compute_dtype(self.settings, self.device)
        _refuse(recipe, data, workers)
        for split in (data.train, data.valid, data.test, data.general):
            split.compute_ref_logprobs(model, self.device, self.dtype, self.settings.micro_rows)
        self.total = total_steps(data.train, self.settings)
        self.validate_every = self.settings.validate_every or max(10, self.total // 20)
        self.progress = CheckpointManager(
            self.module,
            self.settings,
            work=work,
            data=data.fingerprint,
            recipe=recipe_text or recipe.dump(),
            workers=workers,
        )
        if self.state.micro_rows is None:
            self.state.micro_rows = self.settings.micro_rows  # a run that goes on does not measure memory again
        if self.settings.compile:
            self.module.compile()

    @property
    def state(self) -> TrainerState:
        """Where the run stands."""
        return self.progress.state

    @property
    def stopped_early(self) -> bool:
        """Whether validation has not improved for `patience` times in a row."""
        return 0 < self.settings.patience <= self.state.bad_validations

    @property
    def is_finished(self) -> bool:
        """Whether no step is left to make."""
        return self.state.step >= self.total or self.stopped_early

    def run(self) -> TrainingResult:
        """Train to the end, or until validation stops improving. A signal leaves a checkpoint to go on from.

        Raises:
            TurnwiseError: the loss is no longer a number; the last checkpoint is from before.
            SaveFailed: the disk refused; likewise.
        """
        fresh = self.state.step == 0 and not self.state.rollbacks
        before = self._begin() if fresh else None
        with ExitStack() as watched:
            for hook in self.hooks:
                watched.callback(hook.end)
                hook.start(total_steps=self.total, step=self.state.step)
            if before is not None:
                self._tell(before)
            self._steps()
        load_best_weights(self.progress, validated=len(self.data.valid) > 0)
        mixes, share = self._mix() if self.settings.interpolate else ((), 1.0)
        valid, test, general = map(self.evaluate_loss, (self.data.valid, self.data.test, self.data.general))
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

    def _begin(self) -> ValidationReport | None:
        """Measure what there is before the first step, and keep it."""
        torch.manual_seed(self.settings.seed)  # dropout and noise draw from it; checkpoints keep where it stands
        valid, test, general = map(self.evaluate_loss, (self.data.valid, self.data.test, self.data.general))
        self.state.valid_before = self.state.best_loss = None if valid is None else valid.loss
        self.state.test_before = None if test is None else test.loss
        self.state.general_before = None if general is None else general.loss
        self.progress.save_snapshot(START)
        if valid is not None:
            self.progress.save_snapshot(BEST)  # training that only harms gives back what it began with
        return valid

    def _mix(self) -> tuple[tuple[InterpolationResult, ...], float]:
        """Mixes with the base, and how much of the way to what was learned the best one is."""

        def look() -> tuple[float, float | None]:
            valid, general = self.evaluate_loss(self.data.valid), self.evaluate_loss(self.data.general)
            assert valid is not None, "checked before the run"
            return valid.loss, None if general is None else general.loss

        before = self.state.general_before
        return load_best_interpolation(
            self.progress, look, None if before is None else before * (1 + self.settings.forget)
        )

    def _steps(self) -> None:
        with capture_stop_signals() as signum:
            if self.workers.world_size == 1:  # several have to agree, which they do after a step
                self._is_stopping = lambda: signum() != 0
            try:
                self._steps_until(lambda: signum() != 0 or self.should_stop())
            except StopRequested:
                self.module.zero_grad(set_to_none=True)
                self.progress.save()
                raise TrainingInterrupted(signum() or signal.SIGINT) from None

    def _steps_until(self, stops: Callable[[], bool]) -> None:
        rows = self._rows()
        if self._is_validation_due and self.state.validated < self.state.step:
            self.validate()  # the checkpoint is from before it
            if self.state.step % self.settings.save_every == 0:
                self.progress.save(rollback=True)
        while not self.is_finished:
            try:
                report = self.optimizer_step([next(rows) for _ in range(self.settings.rows)])
            except LossSpike as spike:
                self.progress.roll_back(spike)
                rows = self._rows()
                for hook in self.hooks:
                    hook.end()
                    hook.start(total_steps=self.total, step=self.state.step)
                continue
            for hook in self.hooks:
                hook.step(report)
            is_due = self.progress.is_due and self.workers.is_main  # by the first one's clock
            stop, is_due = (total > 0 for total in self.workers.all_reduce_sum([float(stops()), float(is_due)]))
            if self._is_validation_due:
                if is_due:
                    self.progress.save()  # measuring may take long, too
                self.validate()
            if self.is_finished or self.state.step % self.settings.save_every == 0:
                self.progress.save(rollback=True)
            elif stop or is_due:
                self.progress.save()
            if stop:
                raise StopRequested

    @property
    def _is_validation_due(self) -> bool:
        step = self.state.step
        return step > 0 and (step % self.validate_every == 0 or step == self.total)

    def _rows(self) -> Iterator[PackedRow]:
        return self.data.train.stream(skip=self.state.step * self.settings.rows + self.state.skipped_rows)

    def optimizer_step(self, rows: Sequence[PackedRow]) -> StepReport:
        """One optimiser step over these rows.

        Raises:
            Spike: the loss is no number, or far above what it was; nothing was changed.
        """
        began = time.perf_counter()
        self.module.train()
        ours = rows[self.workers.rank :: self.workers.world_size]
        drawn = rng_state(self.device)
        while True:
            try:
                found = self._gradient(ours)
                break
            except StopRequested:
                restore_rng_state(drawn, self.device)  # the step is made again, with the same dropout and noise
                raise
            except (MemoryError, RuntimeError) as error:
                self._take_fewer_rows(error)
                restore_rng_state(drawn, self.device)
        self.state.mean_loss = check_loss_spike(self.state, found.loss, found.norm, self.settings.spike)
        rate = self._rate()
        self.progress.apply_optimizer_step(rate)
        seconds = time.perf_counter() - began
        self.state.seconds += seconds
        self.state.useful_tokens += found.num_tokens
        return StepReport(self.state.step, found.loss, rate, found.norm, found.num_tokens, seconds, found.extra_metrics)

    def _gradient(self, rows: Sequence[PackedRow]) -> GradientResult:
        micro = self.micro_rows
        batches = [self.data.train.batch(rows[i : i + micro]).to(self.device) for i in range(0, len(rows), micro)]
        return accumulate_gradients(
            self.model, self.objective, batches, clip_norm=self.settings.clip_norm, dtype=self.dtype,
            neftune=self.settings.neftune, workers=self.workers, stop=self._is_stopping,
        )  # fmt: skip

    def _take_fewer_rows(self, error: Exception) -> None:
        """Halve the rows that are computed at a time, so that the step can be made after all.

        Raises:
            UserError: one row is too many, or other workers wait for this one.
        """
        if not is_out_of_memory(error):
            raise error
        if self.micro_rows == 1 or self.workers.world_size > 1:
            raise UserError(
                f"A step does not fit into memory any more. {REDUCE_MEMORY_HINT} The same command goes on."
            ) from error
        self.module.zero_grad(set_to_none=True)
        self.state.micro_rows = self.micro_rows // 2

    @property
    def micro_rows(self) -> int:
        """Rows that are computed at a time."""
        return min(self.settings.micro_rows, self.state.micro_rows or self.settings.micro_rows)

    def _rate(self) -> float:
        """The learning rate of the step that comes."""
        said, warmup = self.settings, max(1, round(self.total * self.settings.warmup))
        factor = lr_factor(
            self.state.step, total=self.total, warmup=warmup, schedule=said.schedule, final=said.final_rate
        )
        return self.state.rate_scale * said.learning_rate * factor

    def validate(self) -> None:
        """Measure held-out data, keep the weights if they are the best so far."""
        with self.progress.with_averaged_weights():
            found = self.evaluate_loss(self.data.valid)
            self.state.validated = self.state.step
            if found is None:
                return
            if found.best:
                self.state.best_loss, self.state.best_step, self.state.bad_validations = found.loss, self.state.step, 0
                self.progress.save_snapshot(BEST)
            else:
                self.state.bad_validations += 1
        self._tell(found)

    def _tell(self, report: ValidationReport) -> None:
        for hook in self.hooks:
            hook.validation(report)

    def evaluate_loss(self, dataset: Dataset) -> ValidationReport | None:
        """The loss per unit, or None without data."""
        found = evaluate_loss(
            self.model, dataset, size=self.micro_rows, device=self.device, dtype=self.dtype,
            workers=self.workers, stop=self._is_stopping,
        )  # fmt: skip
        if found is None:
            return None
        if not math.isfinite(found.loss):
            raise divergence_error(self.work, self.state, self.settings.learning_rate, "the loss on held-out data")
        best = self.state.best_loss is None or found.loss < self.state.best_loss or self.state.step == 0
        return ValidationReport(self.state.step, found.loss, best, found.extra_metrics)
