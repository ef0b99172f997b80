"""What changes while a run goes on: weights, optimisers and counts; how they are kept, and how a run goes back."""

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
from turnwise.training.recipe import TrainingSection

SAVE_SHARE = 20  # a checkpoint takes at most a twentieth of the time between two


class CheckpointManager:
    """How far a run has come; from where its checkpoint left it, if it has one.

    Attributes:
        module: has the weights.
        optimizers: have the gradients' moments.
        average: of the weights over steps, where one is kept.
        state: everything else.
    """

    def __init__(
        self, module: nn.Module, settings: TrainingSection, *, work: Path, data: str, recipe: str, workers: WorkerGroup
    ) -> None:
        """Begin, or go on.

        Args:
            module: the weights that training starts from.
            settings: of the recipe.
            work: where everything is kept.
            data: fingerprint of what is learned from.
            recipe: as checkpoints keep it.
            workers: who trains together; the first writes.

        Raises:
            InvalidParameter: the checkpoint was made with other data.
        """
        self.module, self._settings = module, settings
        self._work, self._recipe, self._workers = work, recipe, workers
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        self.optimizers = self._new_optimizers()
        self.state = disk.load_checkpoint(work, module, self.optimizers) or disk.TrainerState(data=data)
        if self.state.data != data:
            raise InvalidParameter(
                "out",
                f"{work} holds an unfinished run, but the data has changed since. Put the data back to go on with it, "
                "choose another --out, or pass --restart to throw it away.",
            )
        self.average: ExponentialMovingAverage | None = None
        if settings.ema is not None:
            self.average = ExponentialMovingAverage(module, settings.ema, disk.load_ema(work, module))

    def _new_optimizers(self) -> list[torch.optim.Optimizer]:
        said = self._settings
        return build_optimizers(
            self.module, name=said.optimizer, rate=said.learning_rate, weight_decay=said.weight_decay
        )

    def apply_optimizer_step(self, rate: float) -> None:
        """Move the weights along their gradient."""
        set_learning_rate(self.optimizers, rate)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        if self.average is not None:
            self.average.update(self.state.step)

    def with_averaged_weights(self) -> AbstractContextManager[None]:
        """Within the block the model has the average's weights, where one is kept."""
        return nullcontext() if self.average is None else self.average.swapped_in()

    def save(self, *, rollback: bool = False) -> None:
        """Write a checkpoint; with `rollback` it is also the one that a spike goes back to."""
        began = time.monotonic()
        average = None if self.average is None else self.average.weights
        disk.save_checkpoint(
            self._work, self.state, self.module, self.optimizers, self._recipe, average,
            write=self._workers.is_main, rollback=rollback,
        )  # fmt: skip
        self._workers.barrier()
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - began

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint; those of large models, which take long, come less often."""
        interval = max(60 * self._settings.save_minutes, SAVE_SHARE * self._save_seconds)
        return time.monotonic() - self._saved_at >= interval

    def save_snapshot(self, name: str) -> None:
        """Keep the weights as `BEST` so far, or as those at the `START`."""
        disk.save_snapshot(self._work, self.module, name, write=self._workers.is_main)
        self._workers.barrier()

    def load_snapshot(self, name: str) -> dict[str, Tensor]:
        """The weights kept under this name."""
        found = disk.load_snapshot(self._work, self.module, name)
        assert found is not None, "kept before the first step"
        return found

    def roll_back(self, spike: LossSpike) -> None:
        """Back to the last checkpoint, with half the rate, and on with the rows after those that led here.

        Raises:
            TurnwiseError: that has been tried often enough.
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
        if self.average is not None:
            average = disk.load_ema(self._work, self.module, disk.ROLLBACK)
            self.average = ExponentialMovingAverage(self.module, self.average.decay, average)
        self.state = state_after_rollback(now, restored, self._settings.rows)
        self._workers.barrier()  # all have read the checkpoint that is replaced now
        self.save(rollback=True)
