"""The training loop: optimizer steps, validation, checkpoints, early stopping and recovery from loss spikes."""

import math
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import torch

from turnwise.training.checkpoint_files import BEST, TrainerState
from turnwise.training.checkpoint_manager import CheckpointManager
from turnwise.training.examples.dataset import Dataset, PackedRow
from turnwise.training.hooks import InterpolationResult, StepReport, TrainerHook, TrainingResult, ValidationReport
from turnwise.training.optim.loss_spikes import LossSpike, divergence_error
from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts.rollout_source import RolloutSource
from turnwise.training.stop_signals import TrainingInterrupted, capture_stop_signals
from turnwise.training.train_step import TrainStep
from turnwise.training.validation import StopRequested, evaluate_loss
from turnwise.training.weight_selection import load_best_interpolation, load_best_weights


class Trainer:
    """Trains a model by a plan.

    If `plan.work` holds a checkpoint, the run continues from it and ends with the same weights as an uninterrupted run.

    Args:
        plan: model, data and settings.
        hooks: receive the events of the run; on several workers only the main worker has any.
        stop: polled after every step; True writes a checkpoint and ends the run, as Ctrl-C does.

    Raises:
        InvalidParameter: the checkpoint was made with other data.
    """

    def __init__(
        self, plan: TrainingPlan, hooks: Sequence[TrainerHook] = (), *, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.plan, self.hooks, self._should_stop = plan, hooks, stop
        self.settings, self.data, self.workers = plan.recipe.training, plan.data, plan.workers
        self.model, self.module = plan.base.model, plan.base.model.module
        self._stop_between_batches: Callable[[], bool] = lambda: False
        self.module.to(plan.device)
        for split in (self.data.train, self.data.valid, self.data.test, self.data.retention):
            split.compute_ref_logprobs(self.model, plan.device, plan.dtype, self.settings.micro_batch_size, hooks)
        self.rollouts = plan.recipe.objective.open_rollouts(plan)  # before a checkpoint changes the weights
        self.checkpoints = CheckpointManager(
            self.module,
            self.settings,
            work=plan.work,
            data=self.data.fingerprint,
            recipe=plan.given_recipe,
            workers=self.workers,
            rollouts=self.rollouts,
        )
        self.train_step = TrainStep(plan, self.checkpoints, lambda: self._stop_between_batches(), self.rollouts)
        if self.settings.torch_compile:
            self.module.compile()

    @property
    def state(self) -> TrainerState:
        """Counters and losses of the run, as stored in checkpoints."""
        return self.checkpoints.state

    @property
    def stopped_early(self) -> bool:
        """True if validation has not improved `early_stopping_patience` times in a row."""
        return 0 < self.settings.early_stopping_patience <= self.state.bad_validations

    @property
    def is_finished(self) -> bool:
        """True if no step is left."""
        return self.state.step >= self.plan.total_steps or self.stopped_early or self.stop_reason is not None

    @property
    def stop_reason(self) -> str | None:
        """Why a guard of the objective ends the run, as a sentence; None if none does."""
        return None if self.rollouts is None else self.rollouts.stop_reason

    def run(self) -> TrainingResult:
        """Train until the last step or until early stopping, then load the best weights.

        Raises:
            TrainingInterrupted: a signal or `stop` ended the run; a checkpoint was written.
            TurnwiseError: training diverged. The last checkpoint is from before.
            SaveFailed: the disk is full or not writable. The last checkpoint is intact.
        """
        with ExitStack() as stack:
            if self.rollouts is not None:
                stack.callback(self.rollouts.close)
            return self._run()

    def _run(self) -> TrainingResult:
        is_new = self.state.step == 0 and not self.state.rollbacks
        if is_new and self.rollouts is not None:
            self._warm_up(self.rollouts)
        before = self._evaluate_base() if is_new else None
        with ExitStack() as stack:
            for hook in self.hooks:
                stack.callback(hook.on_train_end)
                hook.on_train_begin(total_steps=self.plan.total_steps, step=self.state.step)
            if before is not None:
                self._report_validation(before)
            self._train()
        stop_reason = self.stop_reason  # before the validations below, which are not part of the training
        load_best_weights(self.checkpoints, validated=len(self.data.valid) > 0)
        interpolations, alpha = self._interpolate() if self.settings.interpolate else ((), 1.0)
        return self._result(interpolations, alpha, stop_reason)

    def _warm_up(self, rollouts: RolloutSource) -> None:
        """Train what has to be trained before the first step; a run that is stopped meanwhile does it again."""
        torch.manual_seed(self.settings.seed)

        def report(what: str, count: int, total: int) -> None:
            for hook in self.hooks:
                hook.on_warm_up(what, count, total)

        with capture_stop_signals() as signum:
            try:
                rollouts.warm_up(report, lambda: signum() != 0 or self._should_stop())
            except StopRequested:
                raise TrainingInterrupted(signum() or signal.SIGINT) from None

    def _evaluate_base(self) -> ValidationReport | None:
        """Evaluate the weights before the first step and save them as snapshots."""
        torch.manual_seed(self.settings.seed)  # for dropout and NEFTune; checkpoints store the generator's state
        valid, test, retention = self._evaluate_splits()
        self.state.valid_before = None if valid is None else valid.loss
        is_result = valid is not None and not self.data.valid.objective.ADDS_HEAD
        self.state.best_score = valid.score if valid is not None and is_result else None
        self.state.test_before = None if test is None else test.loss
        self.state.retention_before = None if retention is None else retention.loss
        self.checkpoints.save_start()
        if valid is not None:
            self.checkpoints.save_snapshot(BEST)  # a run that never improves returns the base weights
        return valid

    def _train(self) -> None:
        """Run the loop with signal handlers installed; turn a stop request into a checkpoint."""
        with capture_stop_signals() as signum:
            if self.workers.world_size == 1:  # several workers must agree, which they do only after a step
                self._stop_between_batches = lambda: signum() != 0
            try:
                self._train_until(lambda: signum() != 0 or self._should_stop())
            except StopRequested:
                self.module.zero_grad(set_to_none=True)
                self.checkpoints.save()
                raise TrainingInterrupted(signum() or signal.SIGINT) from None

    def _train_until(self, stop: Callable[[], bool]) -> None:
        rows = self._remaining_rows()
        if self._is_validation_due and self.state.validated < self.state.step:
            self.validate()  # the checkpoint was written before the validation of its step
            if self.state.step % self.settings.save_steps == 0:
                self.checkpoints.save(rollback=True)
        while not self.is_finished:
            try:
                report = self.optimizer_step([next(rows) for _ in range(self.settings.batch_size)])
            except LossSpike as spike:
                self.checkpoints.roll_back(spike)
                rows = self._remaining_rows()
                for hook in self.hooks:
                    hook.on_train_end()
                    hook.on_train_begin(total_steps=self.plan.total_steps, step=self.state.step)
                continue
            for hook in self.hooks:
                hook.on_step_end(report)
            self._validate_and_save(stop())

    def optimizer_step(self, rows: Sequence[PackedRow]) -> StepReport:
        """Make one optimizer step over the given rows. Raises as `TrainStep.run` does."""
        return self.train_step.run(rows)

    def _remaining_rows(self) -> Iterator[PackedRow]:
        return self.data.train.stream(skip=self.state.step * self.settings.batch_size + self.state.skipped_rows)

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
        if self.is_finished or self.state.step % self.settings.save_steps == 0:
            self.checkpoints.save(rollback=True)
        elif stop or is_due:
            self.checkpoints.save()
        if stop:
            raise StopRequested

    @property
    def _is_validation_due(self) -> bool:
        step = self.state.step
        return step > 0 and (step % self.plan.eval_steps == 0 or step == self.plan.total_steps)

    def validate(self) -> None:
        """Evaluate the validation split and save a snapshot if the loss is the lowest so far."""
        with self.checkpoints.with_averaged_weights():
            report = self.evaluate_loss(self.data.valid)
            self.state.validated = self.state.step
            if report is None:
                return
            if report.is_best:
                self.state.best_score, self.state.best_step = report.score, self.state.step
                self.state.bad_validations = 0
                self.checkpoints.save_snapshot(BEST)
            else:
                self.state.bad_validations += 1
        self._report_validation(report)

    def _report_validation(self, report: ValidationReport) -> None:
        for hook in self.hooks:
            hook.on_evaluate(report)

    def evaluate_loss(self, dataset: Dataset) -> ValidationReport | None:
        """Evaluate a split; None if it is empty.

        Raises:
            TurnwiseError: the loss is not finite.
        """
        plan, state = self.plan, self.state
        held_out = evaluate_loss(
            self.model, dataset, size=self.train_step.micro_batch_size, device=plan.device, dtype=plan.dtype,
            workers=self.workers, stop=self._stop_between_batches,
        )  # fmt: skip
        if held_out is None:
            return None
        if not math.isfinite(held_out.loss):
            raise divergence_error(plan.work, state, self.settings.learning_rate, "the loss on held-out data")
        metrics = dataset.objective.validation_metrics(held_out.extra_metrics)
        if self.rollouts is not None and dataset is self.data.valid:
            metrics = {**metrics, **self.rollouts.validate(state.step, held_out.loss)}
        score = dataset.objective.validation_score(held_out.loss, metrics)
        is_best = state.best_score is None or score < state.best_score or state.step == 0
        return ValidationReport(state.step, held_out.loss, is_best, metrics, score)

    def _evaluate_splits(self) -> tuple[ValidationReport | None, ...]:
        """Evaluate the validation, test and retention splits, in this order."""
        return tuple(map(self.evaluate_loss, (self.data.valid, self.data.test, self.data.retention)))

    def _interpolate(self) -> tuple[tuple[InterpolationResult, ...], float]:
        """Load the best interpolation of base and tuned weights; return all results and its α."""

        def evaluate() -> tuple[float, float | None]:
            valid, retention = self.evaluate_loss(self.data.valid), self.evaluate_loss(self.data.retention)
            assert valid is not None, "checked before the run"
            return valid.loss, None if retention is None else retention.loss

        before = self.state.retention_before
        max_retention_loss = None if before is None else before * (1 + self.settings.max_retention_increase)
        return load_best_interpolation(self.checkpoints, evaluate, max_retention_loss)

    def _result(
        self, interpolations: tuple[InterpolationResult, ...], alpha: float, stop_reason: str | None
    ) -> TrainingResult:
        """Evaluate the final weights."""
        valid, test, retention = self._evaluate_splits()
        state = self.state
        if self.rollouts is not None and self.workers.is_main:
            self.rollouts.save(self.plan.work)
        return TrainingResult(
            steps=state.step,
            best_step=state.best_step if state.best_score is not None else state.step,
            stopped_early=self.stopped_early,
            seconds=state.seconds,
            useful_tokens=state.useful_tokens,
            valid_before=state.valid_before,
            valid_after=None if valid is None else valid.loss,
            test_before=state.test_before,
            test_after=None if test is None else test.loss,
            extra_metrics={} if valid is None else valid.extra_metrics,
            retention_before=state.retention_before,
            retention_after=None if retention is None else retention.loss,
            rollbacks=state.rollbacks,
            interpolations=interpolations,
            alpha=alpha,
            stop_reason=stop_reason,
            reply_metrics_before={} if self.rollouts is None else self.rollouts.start_metrics,
        )
