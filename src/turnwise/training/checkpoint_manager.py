"""Trainable state of a run (weights, optimizers, counters), its checkpoints, and rollback after loss spikes."""

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from turnwise.core.errors import InvalidParameter
from turnwise.training import checkpoint_files as disk
from turnwise.training.distributed.worker_group import WorkerGroup
from turnwise.training.optim.loss_spikes import MAX_ROLLBACKS, LossSpike, divergence_error, state_after_rollback
from turnwise.training.optim.optimizers import build_optimizers, set_learning_rate
from turnwise.training.optim.weight_averaging import ExponentialMovingAverage
from turnwise.training.recipe_sections import TrainingSection
from turnwise.training.rollouts.rollout_source import RolloutSource

MIN_INTERVAL_FACTOR = 20  # the interval between checkpoints is at least 20 times the time to write one


class CheckpointManager:
    """Holds the state of a run and writes checkpoints; continues from a checkpoint in `work` if there is one.

    Attributes:
        module: model with the trainable weights.
        optimizers: one, or two with Muon.
        average: exponential moving average of the weights; None if off.
        state: counters and losses.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: TrainingSection,
        *,
        work: Path,
        data: str,
        recipe: str,
        workers: WorkerGroup,
        rollouts: RolloutSource | None = None,
    ) -> None:
        """Create the optimizers and load a checkpoint.

        Args:
            module: model with the initial weights.
            settings: training section of the recipe.
            work: folder of the run.
            data: fingerprint of the examples.
            recipe: recipe text to store in checkpoints.
            workers: the processes that train together; the main worker writes.
            rollouts: source of sampled replies, whose state is a part of the checkpoints.

        Raises:
            InvalidParameter: the checkpoint was made with other data.
        """
        self.module, self._settings = module, settings
        self._work, self._recipe, self._workers, self._rollouts = work, recipe, workers, rollouts
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        self.optimizers = self._new_optimizers()
        self.state = disk.load_checkpoint(work, module, self.optimizers) or disk.TrainerState(data=data)
        if self.state.data != data:
            raise InvalidParameter(
                "out",
                f"{work} holds an unfinished run, but the data has changed since. Put the data back to go on with it, "
                "choose another --out, or pass --restart to throw it away.",
            )
        self._load_rollouts(disk.CHECKPOINT)
        self.average: ExponentialMovingAverage | None = None
        if settings.ema_decay is not None:
            self.average = ExponentialMovingAverage(module, settings.ema_decay, disk.load_ema(work, module))

    def _load_rollouts(self, name: str) -> None:
        if self._rollouts is not None and (state := disk.load_rollouts(self._work, name)) is not None:
            self._rollouts.load_state(*state)

    def _new_optimizers(self) -> list[torch.optim.Optimizer]:
        settings = self._settings
        return build_optimizers(
            self.module,
            name=settings.optimizer,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            head_lr_factor=settings.head_lr_factor,
        )

    def apply_optimizer_step(self, learning_rate: float) -> None:
        """Update the weights with their gradients and clear them."""
        set_learning_rate(self.optimizers, learning_rate)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        if self.average is not None:
            self.average.update(self.state.step)

    def with_averaged_weights(self) -> AbstractContextManager[None]:
        """Context manager: use the averaged weights in the block, if averaging is on."""
        return nullcontext() if self.average is None else self.average.swapped_in()

    def save(self, *, rollback: bool = False) -> None:
        """Write a checkpoint; with `rollback` it is also the one for rollbacks."""
        start = time.monotonic()
        average = None if self.average is None else self.average.weights
        disk.save_checkpoint(
            self._work, self.state, self.module, self.optimizers, self._recipe, average,
            self._rollout_state(),
            write=self._workers.is_main, rollback=rollback,
        )  # fmt: skip
        self._workers.barrier()
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - start

    @property
    def is_due(self) -> bool:
        """True if a checkpoint is due; the interval grows with the time that writing takes."""
        interval = max(60 * self._settings.save_interval_minutes, MIN_INTERVAL_FACTOR * self._save_seconds)
        return time.monotonic() - self._saved_at >= interval

    def save_start(self) -> None:
        """Save what training starts from, for rollbacks before the first rollback checkpoint."""
        state = self._rollout_state()
        disk.save_snapshot(self._work, self.module, disk.START, state, write=self._workers.is_main)
        self._workers.barrier()

    def _rollout_state(self) -> disk.RolloutState | None:
        return None if self._rollouts is None else self._rollouts.state()

    def save_snapshot(self, name: str) -> None:
        """Save the weights as `BEST`."""
        disk.save_snapshot(self._work, self.module, name, write=self._workers.is_main)
        self._workers.barrier()

    def load_snapshot(self, name: str) -> dict[str, Tensor]:
        """Load the weights saved as `BEST` or `START`."""
        weights = disk.load_snapshot(self._work, self.module, name)
        assert weights is not None, "saved before the first step"
        return weights

    def roll_back(self, spike: LossSpike) -> None:
        """Restore the rollback checkpoint, halve the learning rate and skip the rows since then.

        Raises:
            TurnwiseError: the maximum number of rollbacks is reached.
        """
        now = self.state
        if now.step == 0 or now.rollbacks == MAX_ROLLBACKS:
            raise divergence_error(self._work, now, self._settings.learning_rate, spike.quantity)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        restored = disk.load_checkpoint(self._work, self.module, self.optimizers, disk.ROLLBACK)
        if restored is None:
            disk.load_trainable(self.module, self.load_snapshot(disk.START))
            self.optimizers = self._new_optimizers()
            restored = disk.TrainerState(data=now.data)
        self._load_rollouts(disk.ROLLBACK if (self._work / disk.ROLLBACK).is_dir() else disk.START)
        if self.average is not None:
            average = disk.load_ema(self._work, self.module, disk.ROLLBACK)
            self.average = ExponentialMovingAverage(self.module, self.average.decay, average)
        self.state = state_after_rollback(now, restored, self._settings.batch_size)
        self._workers.barrier()  # all workers must have read the checkpoint before it is replaced
        self.save(rollback=True)
