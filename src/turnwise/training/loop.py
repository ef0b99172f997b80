"""The training loop: one optimiser step after another, validation now and then, the best weights at the end."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.models.checkpoint import auto_dtype
from turnwise.models.model import Model
from turnwise.training import state as disk
from turnwise.training.averages import SHARES, RunningAverage, between
from turnwise.training.dataset import Dataset, Datasets, Row
from turnwise.training.interrupt import interrupt_noted
from turnwise.training.measure import measure
from turnwise.training.optimizer import build_optimizers, set_rate
from turnwise.training.recipe import Recipe, TrainingSection
from turnwise.training.report import Hook, Mix, Result, StepReport, ValidationReport
from turnwise.training.schedule import rate_factor
from turnwise.training.spikes import ROLLBACKS, Spike, check_spike
from turnwise.training.step import gradient
from turnwise.training.workers import ALONE, Workers


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
        said: str | None = None,
        workers: Workers = ALONE,
    ) -> None:
        self.workers = workers
        self.said = said or recipe.dump()  # the recipe as checkpoints keep it, before anything was settled
        self.recipe, self.settings, self.objective = recipe, recipe.training, recipe.objective
        self.module = model.module
        self.device = device or next(self.module.parameters()).device
        self.module.to(self.device)
        self.model, self.data = model, data
        self.work, self.hooks = work, hooks
        self.dtype = dtype_of(self.settings, self.device)
        if self.settings.rows < workers.count:
            raise InvalidParameter(
                "training.rows", f"'rows' is {self.settings.rows}: {workers.count} workers need one each."
            )
        for split in (data.train, data.valid, data.test, data.general):
            split.learn_base(model, self.device, self.dtype, self.settings.micro_rows)
        if self.settings.interpolate and not len(data.valid):
            raise InvalidParameter("training.interpolate", "'interpolate' chooses by validation data: name some.")
        if self.settings.interpolate and not recipe.method.MIXES:
            raise InvalidParameter(
                "training.interpolate", "'interpolate' mixes weights with the base's, which thin matrices have none of."
            )
        self.optimizers = self._new_optimizers()
        self.total = total_steps(data.train, self.settings)
        self.state = disk.load_checkpoint(work, self.module, self.optimizers) or disk.RunState(data=data.fingerprint)
        if self.state.data != data.fingerprint:
            raise InvalidParameter(
                "out",
                f"{work} holds an unfinished run, but the data has changed since. Put the data back to go on with it, "
                "choose another --out, or pass --restart to throw it away.",
            )
        self.validate_every = self.settings.validate_every or max(10, self.total // 20)
        self.average: RunningAverage | None = None
        if self.settings.ema is not None:
            self.average = RunningAverage(self.module, self.settings.ema, disk.load_average(work))
        if self.settings.compile:
            self.module.compile()

    def _new_optimizers(self) -> list[torch.optim.Optimizer]:
        said = self.settings
        return build_optimizers(
            self.module, name=said.optimizer, rate=said.learning_rate, weight_decay=said.weight_decay
        )

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
        fresh = self.state.step == 0 and not self.state.rollbacks
        before = self._begin() if fresh else None
        with ExitStack() as watched:
            for hook in self.hooks:
                watched.callback(hook.end)
                hook.start(total_steps=self.total, step=self.state.step)
            if before is not None:
                self._tell(before)
            self._steps()
        self._take_best()
        mixes = self._mix() if self.settings.interpolate else []
        valid, test, general = map(self.measure, (self.data.valid, self.data.test, self.data.general))
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
            general_before=self.state.general_before,
            general_after=None if general is None else general.loss,
            rollbacks=self.state.rollbacks,
            mixes=tuple(mixes),
            share=min(mixes, key=self._worth).share if mixes else 1.0,
        )

    def _begin(self) -> ValidationReport | None:
        """Measure what there is before the first step, and keep it."""
        torch.manual_seed(self.settings.seed)  # dropout and noise draw from it; checkpoints keep where it stands
        valid, test, general = map(self.measure, (self.data.valid, self.data.test, self.data.general))
        self.state.valid_before = self.state.best_loss = None if valid is None else valid.loss
        self.state.test_before = None if test is None else test.loss
        self.state.general_before = None if general is None else general.loss
        self._keep(disk.START)
        if valid is not None:
            self._keep(disk.BEST)  # training that only harms gives back what it began with
        return valid

    def _keep(self, name: str) -> None:
        if self.workers.first:
            disk.keep(self.work, self.module, name)
        self.workers.wait()

    def _take_best(self) -> None:
        """The best weights, or where nothing was held out to tell, the last ones."""
        best = disk.kept(self.work, disk.BEST) if len(self.data.valid) else None
        if best is None and self.average is not None:
            best = self.average.weights
        if best is not None:
            disk.put_back(self.module, best)

    def _mix(self) -> list[Mix]:
        """Look for the best weights between the base's and those that were learned, and take them."""
        start, tuned = disk.kept(self.work, disk.START), disk.learned(self.module)
        assert start is not None, "kept before the first step"
        tuned = {name: tensor.clone() for name, tensor in tuned.items()}
        found = []
        for share in SHARES:
            disk.put_back(self.module, between(start, tuned, share))
            valid, general = self.measure(self.data.valid), self.measure(self.data.general)
            assert valid is not None, "checked before the run"
            found.append(Mix(share, valid.loss, None if general is None else general.loss))
        disk.put_back(self.module, between(start, tuned, min(found, key=self._worth).share))
        return found

    def _worth(self, mix: Mix) -> tuple[float, float]:
        """Less is better: first how much more is forgotten than allowed, then the loss on validation data."""
        if mix.general is None or self.state.general_before is None:
            return 0.0, mix.valid
        allowed = self.state.general_before * (1 + self.settings.forget)
        return max(0.0, mix.general - allowed), mix.valid

    def _steps(self) -> None:
        rows = self._rows()
        with interrupt_noted() as interrupted:
            while not self.over:
                try:
                    report = self.optimise([next(rows) for _ in range(self.settings.rows)])
                except Spike as spike:
                    self._roll_back(spike)
                    rows = self._rows()
                    continue
                for hook in self.hooks:
                    hook.step(report)
                if self.state.step % self.validate_every == 0 or self.state.step == self.total:
                    self.validate()
                stop = self.workers.any(interrupted())
                if stop or self.over or self.state.step % self.settings.save_every == 0:
                    self.save()
                if stop:
                    raise KeyboardInterrupt

    def _rows(self) -> Iterator[Row]:
        return self.data.train.stream(skip=self.state.step * self.settings.rows + self.state.skipped_rows)

    def _roll_back(self, spike: Spike) -> None:
        """Back to the last checkpoint, with half the rate, and on with the rows after those that led here.

        Raises:
            TurnwiseError: that has been tried often enough.
        """
        now = self.state
        if now.step == 0 or now.rollbacks == ROLLBACKS:
            raise self._diverged(spike.what)
        seen = (now.step + 1) * self.settings.rows + now.skipped_rows
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        restored = disk.load_checkpoint(self.work, self.module, self.optimizers)
        if restored is None:
            start = disk.kept(self.work, disk.START)
            assert start is not None, "kept before the first step"
            disk.put_back(self.module, start)
            self.optimizers = self._new_optimizers()
            restored = disk.RunState(data=now.data)
        if self.average is not None:
            self.average = RunningAverage(self.module, self.average.decay, disk.load_average(self.work))
        self.state = replace(
            now,  # the best weights so far stay what they are, and so does the time that was spent
            step=restored.step,
            mean_loss=restored.mean_loss,
            bad_validations=0,
            skipped_rows=seen - restored.step * self.settings.rows,
            rate_scale=now.rate_scale / 2,
            rollbacks=now.rollbacks + 1,
        )
        self.workers.wait()  # all have read the checkpoint that is replaced now
        self.save()
        for hook in self.hooks:
            hook.end()
            hook.start(total_steps=self.total, step=self.state.step)

    def optimise(self, rows: Sequence[Row]) -> StepReport:
        """One optimiser step over these rows.

        Raises:
            Spike: the loss is no number, or far above what it was; nothing was changed.
        """
        began = time.perf_counter()
        self.module.train()
        said, micro = self.settings, self.settings.micro_rows
        ours = rows[self.workers.rank :: self.workers.count]
        batches = [self.data.train.batch(ours[i : i + micro]).to(self.device) for i in range(0, len(ours), micro)]
        found = gradient(
            self.model, self.objective, batches, clip_norm=said.clip_norm, dtype=self.dtype, neftune=said.neftune,
            workers=self.workers,
        )  # fmt: skip
        self.state.mean_loss = check_spike(self.state, found.loss, found.norm, said.spike)
        rate = (
            self.state.rate_scale
            * said.learning_rate
            * rate_factor(
                self.state.step,
                total=self.total,
                warmup=max(1, round(self.total * said.warmup)),
                schedule=said.schedule,
                final=said.final_rate,
            )
        )
        set_rate(self.optimizers, rate)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began
        self.state.step += 1
        self.state.seconds += seconds
        self.state.useful_tokens += found.useful
        if self.average is not None:
            self.average.update(self.state.step)
        return StepReport(self.state.step, found.loss, rate, found.norm, found.useful, seconds, found.figures)

    def validate(self) -> None:
        """Measure held-out data, keep the weights if they are the best so far."""
        with ExitStack() as stack:
            if self.average is not None:
                stack.enter_context(self.average.in_place())
            found = self.measure(self.data.valid)
            if found is None:
                return
            if found.best:
                self.state.best_loss, self.state.best_step, self.state.bad_validations = found.loss, self.state.step, 0
                self._keep(disk.BEST)
            else:
                self.state.bad_validations += 1
        self._tell(found)

    def _tell(self, report: ValidationReport) -> None:
        for hook in self.hooks:
            hook.validation(report)

    def save(self) -> None:
        """Write a checkpoint."""
        average = None if self.average is None else self.average.weights
        if self.workers.first:
            disk.save_checkpoint(self.work, self.state, self.module, self.optimizers, self.said, average)
        self.workers.wait()

    def measure(self, dataset: Dataset) -> ValidationReport | None:
        """The loss per unit, or None without data."""
        found = measure(
            self.model,
            dataset,
            size=self.settings.micro_rows,
            device=self.device,
            dtype=self.dtype,
            workers=self.workers,
        )
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
        times = self.state.rollbacks
        again = "is no longer what it should be" + (f", though it went back {times} times" if times else "")
        return TurnwiseError(
            f"After step {self.state.step} {what} {again}: training has diverged. Try a smaller "
            f"'learning_rate' (it was {self.settings.learning_rate:g}), a longer 'warmup' or the 'dtype' float32, with "
            "--restart." + (f" The checkpoint in {self.work} is from before." if kept else "")
        )
