"""The training loop: one optimiser step after another, validation now and then, the best weights at the end."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.models.checkpoint import auto_dtype
from turnwise.models.model import Model
from turnwise.training import state as disk
from turnwise.training.dataset import Dataset, Datasets, Row
from turnwise.training.interrupt import interrupt_noted
from turnwise.training.measure import add, computing, measure
from turnwise.training.optimizer import build_optimizers, set_rate
from turnwise.training.recipe import Recipe, TrainingSection
from turnwise.training.report import Hook, Result, StepReport, ValidationReport
from turnwise.training.schedule import rate_factor


def total_steps(dataset: Dataset, settings: TrainingSection) -> int:
    """Optimiser steps in the run."""
    if settings.max_steps is not None:
        return settings.max_steps
    return max(1, round(len(dataset.rows()) * settings.epochs / settings.rows))


def default_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(settings: TrainingSection, device: torch.device) -> torch.dtype:
    """What is computed in."""
    wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(settings.dtype)
    return wanted or auto_dtype(device)


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
        model: Model,
        data: Datasets,
        *,
        work: Path,
        hooks: Sequence[Hook] = (),
        device: torch.device | None = None,
    ) -> None:
        self.recipe, self.settings, self.objective = recipe, recipe.training, recipe.objective
        self.module = model.module
        self.device = device or next(self.module.parameters()).device
        self.module.to(self.device)
        self.model, self.data = model, data
        self.work, self.hooks = work, hooks
        for split in (data.train, data.valid, data.test):
            split.learn_base(model, self.device, self.settings.micro_rows)
        self.optimizers = build_optimizers(
            self.module,
            name=self.settings.optimizer,
            rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
        )
        self.total = total_steps(data.train, self.settings)
        self.state = disk.load_checkpoint(work, self.module, self.optimizers) or disk.RunState(data=data.fingerprint)
        if self.state.data != data.fingerprint:
            raise InvalidParameter(
                "out",
                f"{work} holds an unfinished run, but the data has changed since. Put the data back to go on with it, "
                "choose another --out, or pass --restart to throw it away.",
            )
        self.validate_every = self.settings.validate_every or max(10, self.total // 20)
        self.dtype = dtype_of(self.settings, self.device)
        if self.settings.compile:
            self.module.compile()

    @property
    def stopped_early(self) -> bool:
        """Whether validation has not improved for `patience` times in a row."""
        return 0 < self.settings.patience <= self.state.bad_validations

    @property
    def over(self) -> bool:
        """Whether no step is left to make."""
        return self.state.step >= self.total or self.stopped_early

    def run(self) -> Result:
        """Train to the end, or until validation stops improving. Ctrl-C leaves a checkpoint to go on from.

        Raises:
            TurnwiseError: the loss is no longer a number; the last checkpoint is from before.
            SaveFailed: the disk refused; likewise.
        """
        if self.state.step == 0:
            before = self.measure(self.data.valid)
            self.state.valid_before = self.state.best_loss = None if before is None else before.loss
            found = self.measure(self.data.test)
            self.state.test_before = None if found is None else found.loss
            if before is not None:
                disk.save_best(self.work, self.module)  # training that only harms gives back what it began with
        with ExitStack() as watched:
            for hook in self.hooks:
                watched.callback(hook.end)
                hook.start(total_steps=self.total, step=self.state.step)
            if self.state.step == 0 and before is not None:
                self._tell(before)
            self._steps()
        if len(self.data.valid):
            disk.load_best(self.work, self.module)
        valid, test = self.measure(self.data.valid), self.measure(self.data.test)
        return Result(
            steps=self.state.step,
            best_step=self.state.best_step if self.state.best_loss is not None else self.state.step,
            stopped_early=self.stopped_early,
            seconds=self.state.seconds,
            useful_tokens=self.state.useful_tokens,
            valid_before=self.state.valid_before,
            valid_after=None if valid is None else valid.loss,
            test_before=self.state.test_before,
            test_after=None if test is None else test.loss,
            figures={} if valid is None else valid.figures,
        )

    def _steps(self) -> None:
        rows = self.data.train.stream(skip=self.state.step * self.settings.rows)
        with interrupt_noted() as interrupted:
            while not self.over:
                report = self.optimise([next(rows) for _ in range(self.settings.rows)])
                for hook in self.hooks:
                    hook.step(report)
                if self.state.step % self.validate_every == 0 or self.state.step == self.total:
                    self.validate()
                stop = interrupted()
                if stop or self.over or self.state.step % self.settings.save_every == 0:
                    self.save()
                if stop:
                    raise KeyboardInterrupt

    def optimise(self, rows: Sequence[Row]) -> StepReport:
        """One optimiser step over these rows, a few at a time, exactly as if they had all fitted at once."""
        began = time.perf_counter()
        self.module.train()
        micro = self.settings.micro_rows
        batches = [self.data.train.batch(rows[i : i + micro]).to(self.device) for i in range(0, len(rows), micro)]
        share = sum(self.objective.share(batch) for batch in batches)
        reported = sum(self.objective.reported(batch) for batch in batches)
        with self._computing():
            before = self.objective.before_step(self.model, batches)
        summed = 0.0
        figures: dict[str, float] = {}
        for batch in batches:
            with self._computing():
                outcome = self.objective.loss(self.model, batch, before)
            (outcome.summed / share).backward()  # type: ignore[no-untyped-call]
            summed += outcome.summed.item()
            add(figures, outcome, reported)
        # The bound is on the gradient per unit of the loss, so it means the same whatever the loss is divided by.
        bound = self.settings.clip_norm * reported / share
        norm = torch.nn.utils.clip_grad_norm_(self._learning(), bound).item()
        if not math.isfinite(summed + norm):
            raise self._diverged("the loss" if not math.isfinite(summed) else "its gradient")
        rate = self.settings.learning_rate * rate_factor(
            self.state.step,
            total=self.total,
            warmup=max(1, round(self.total * self.settings.warmup)),
            schedule=self.settings.schedule,
            final=self.settings.final_rate,
        )
        set_rate(self.optimizers, rate)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        useful = sum(batch.useful for batch in batches)
        seconds = time.perf_counter() - began
        self.state.step += 1
        self.state.seconds += seconds
        self.state.useful_tokens += useful
        return StepReport(self.state.step, summed / reported, rate, norm * share / reported, useful, seconds, figures)

    def _learning(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def _computing(self) -> torch.autocast:
        return computing(self.device, self.dtype)

    def validate(self) -> None:
        """Measure held-out data, keep the weights if they are the best so far."""
        found = self.measure(self.data.valid)
        if found is None:
            return
        if found.best:
            self.state.best_loss, self.state.best_step, self.state.bad_validations = found.loss, self.state.step, 0
            disk.save_best(self.work, self.module)
        else:
            self.state.bad_validations += 1
        self._tell(found)

    def _tell(self, report: ValidationReport) -> None:
        for hook in self.hooks:
            hook.validation(report)

    def save(self) -> None:
        """Write a checkpoint."""
        disk.save_checkpoint(self.work, self.state, self.module, self.optimizers, self.recipe.dump())

    def measure(self, dataset: Dataset) -> ValidationReport | None:
        """The loss per unit, or None without data."""
        found = measure(self.model, dataset, size=self.settings.micro_rows, device=self.device, dtype=self.dtype)
        if found is None:
            return None
        if not math.isfinite(found.loss):
            raise self._diverged("the loss on held-out data")
        best = self.state.best_loss is None or found.loss < self.state.best_loss or self.state.step == 0
        return ValidationReport(self.state.step, found.loss, best, found.figures)

    def _diverged(self, what: str) -> TurnwiseError:
        """Raised before anything is changed or saved, so what is on disk is from when all was well."""
        if self.state.step == 0:
            return TurnwiseError(
                f"Before the first step {what} is not a finite number: the weights that training starts from are "
                "damaged, or too large for the 'dtype' it computes in."
            )
        kept = disk.checkpoint_recipe(self.work) is not None
        return TurnwiseError(
            f"After step {self.state.step} {what} is no longer a finite number: training has diverged. Try a smaller "
            f"'learning_rate' (it was {self.settings.learning_rate:g}), a longer 'warmup' or the 'dtype' float32, with "
            "--restart." + (f" The checkpoint in {self.work} is from before." if kept else "")
        )
