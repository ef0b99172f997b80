"""The training loop: one optimiser step after another, validation now and then, the best weights at the end.

Shapes: B rows, T tokens in a row.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.data.batches import Batch
from turnwise.models.checkpoint import auto_dtype
from turnwise.models.decoder import Decoder
from turnwise.models.loss import summed_cross_entropy
from turnwise.training import state as disk
from turnwise.training.dataset import Dataset, Datasets
from turnwise.training.interrupt import interrupt_noted
from turnwise.training.objectives import Objective
from turnwise.training.optimizer import build_optimizers, set_rate
from turnwise.training.recipe import Recipe, TrainingSection
from turnwise.training.report import Hook, Result, StepReport, ValidationReport
from turnwise.training.schedule import rate_factor


def summed_loss(model: Decoder, batch: Batch) -> Tensor:
    """Cross-entropy summed over the batch's targets."""
    return summed_cross_entropy(
        model, batch.ids_BT, batch.targets_BT, positions_BT=batch.positions_BT, mask=batch.mask_B1TT()
    )


def row_stream(dataset: Dataset, *, seed: int, skip: int = 0) -> Iterator[list[int]]:
    """Rows for ever, packed anew every epoch; `skip` rows are passed over (resuming)."""
    for epoch in count():
        rows = dataset.rows(seed=hash_seed(seed, epoch))
        yield from rows[skip:]
        skip = max(0, skip - len(rows))


def hash_seed(seed: int, epoch: int) -> int:
    """Another order for every epoch, the same on every run."""
    return seed * 1_000_003 + epoch


def total_steps(dataset: Dataset, settings: TrainingSection) -> int:
    """Optimiser steps in the run."""
    if settings.max_steps is not None:
        return settings.max_steps
    rows = len(dataset.rows(seed=hash_seed(settings.seed, 0)))
    return max(1, round(rows * settings.epochs / settings.rows))


class Trainer:
    """One run: a model, data, an objective and a recipe.

    `work` is where checkpoints go. A run that finds one there goes on from it and ends with the same weights as if it
    had never stopped.

    Raises:
        InvalidParameter: the checkpoint was made with other data.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Decoder,
        data: Datasets,
        objective: Objective,
        *,
        work: Path,
        hooks: Sequence[Hook] = (),
        device: torch.device | None = None,
    ) -> None:
        self.recipe, self.settings = recipe, recipe.training
        self.device = device or next(model.parameters()).device
        self.model, self.data, self.objective = model.to(self.device), data, objective
        self.work, self.hooks = work, hooks
        self.optimizers = build_optimizers(
            model,
            name=self.settings.optimizer,
            rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
        )
        self.total = total_steps(data.train, self.settings)
        self.state = disk.load_checkpoint(work, model, self.optimizers) or disk.RunState(data=data.fingerprint)
        if self.state.data != data.fingerprint:
            raise InvalidParameter(
                "out",
                f"{work} holds an unfinished run, but the data has changed since. Put the data back to go on with it, "
                "choose another --out, or pass --restart to throw it away.",
            )
        self.validate_every = self.settings.validate_every or max(10, self.total // 20)
        wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(self.settings.dtype)
        self.dtype = wanted or auto_dtype(self.device)
        self._forward = torch.compile(summed_loss) if self.settings.compile else summed_loss

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
            self.state.valid_before = self.state.best_loss = self.measure(self.data.valid)
            self.state.test_before = self.measure(self.data.test)
            if self.state.valid_before is not None:
                disk.save_best(self.work, self.model)  # training that only harms gives back what it began with
        with ExitStack() as watched:
            for hook in self.hooks:
                watched.callback(hook.end)
                hook.start(total_steps=self.total, step=self.state.step)
            if self.state.step == 0 and self.state.valid_before is not None:
                self._tell(ValidationReport(0, self.state.valid_before, best=True))
            self._steps()
        if self.data.valid.examples:
            disk.load_best(self.work, self.model)
        return Result(
            steps=self.state.step,
            best_step=self.state.best_step if self.state.best_loss is not None else self.state.step,
            stopped_early=self.stopped_early,
            seconds=self.state.seconds,
            useful_tokens=self.state.useful_tokens,
            valid_before=self.state.valid_before,
            valid_after=self.measure(self.data.valid),
            test_before=self.state.test_before,
            test_after=self.measure(self.data.test),
        )

    def _steps(self) -> None:
        rows = row_stream(self.data.train, seed=self.settings.seed, skip=self.state.step * self.settings.rows)
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

    def optimise(self, rows: Sequence[Sequence[int]]) -> StepReport:
        """One optimiser step over these rows, a few at a time, exactly as if they had all fitted at once."""
        began = time.perf_counter()
        self.model.train()
        micro = self.settings.micro_rows
        batches = [self.data.train.batch(rows[i : i + micro]) for i in range(0, len(rows), micro)]
        share = sum(self.objective.share(batch) for batch in batches)
        counted = sum(batch.counted for batch in batches)
        summed = 0.0
        for batch in batches:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                loss = self._forward(self.model, batch.to(self.device))
            (loss / share).backward()  # type: ignore[no-untyped-call]
            summed += loss.item()
        # The bound is on the gradient per token, so it means the same whatever the loss is divided by.
        bound = self.settings.clip_norm * counted / share
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), bound).item()
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
        return StepReport(self.state.step, summed / counted, rate, norm * share / counted, useful, seconds)

    def validate(self) -> None:
        """Measure held-out data, keep the weights if they are the best so far."""
        loss = self.measure(self.data.valid)
        if loss is None:
            return
        best = self.state.best_loss is None or loss < self.state.best_loss
        if best:
            self.state.best_loss, self.state.best_step, self.state.bad_validations = loss, self.state.step, 0
            disk.save_best(self.work, self.model)
        else:
            self.state.bad_validations += 1
        self._tell(ValidationReport(self.state.step, loss, best))

    def _tell(self, report: ValidationReport) -> None:
        for hook in self.hooks:
            hook.validation(report)

    def save(self) -> None:
        """Write a checkpoint."""
        disk.save_checkpoint(self.work, self.state, self.model, self.optimizers, self.recipe.dump())

    @torch.no_grad()
    def measure(self, dataset: Dataset) -> float | None:
        """Loss per predicted token, or None without data."""
        if not dataset.examples:
            return None
        self.model.eval()
        summed, counted = 0.0, 0
        for batch in dataset.batches(self.settings.micro_rows):
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                summed += summed_loss(self.model, batch.to(self.device)).item()
            counted += batch.counted
        if not math.isfinite(summed):
            raise self._diverged("the loss on held-out data")
        return summed / counted

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
