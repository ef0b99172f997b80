"""The common part of the sources with a discriminator: its warm-up, its state in checkpoints, and its folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts.discriminator import FOLDER, RepliedPrompt
from turnwise.training.rollouts.discriminator_training import DiscriminatorTraining, open_discriminator
from turnwise.training.rollouts.guards import GuardLimits
from turnwise.training.rollouts.rollout_source import OnProgress
from turnwise.training.rollouts.sampled_rollouts import SampledRollouts


class DiscriminatorRollouts(SampledRollouts):
    """Base class of the sources whose replies a discriminator scores.

    Args:
        plan: the run.
        discriminator: as `open_discriminator` takes it.
        discriminator_learning_rate: its learning rate.
        warm_up_steps: most steps of its training before the first step.
        warm_up_accuracy: share of held-out pairs that ends this training.
        has_shuffled_labels: draw at random which reply of a pair counts as human: a placebo.
        max_reply_tokens: longest reply.
        num_validation_prompts: held-out prompts whose replies are watched.
        limits: limits of the guards.
        watches_discriminator: let its held-out accuracy end the run.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        *,
        discriminator: str,
        discriminator_learning_rate: float | None,
        warm_up_steps: int,
        warm_up_accuracy: float,
        has_shuffled_labels: bool = False,
        max_reply_tokens: int,
        num_validation_prompts: int,
        limits: GuardLimits,
        watches_discriminator: bool,
    ) -> None:
        super().__init__(
            plan, max_reply_tokens=max_reply_tokens, num_validation_prompts=num_validation_prompts, limits=limits,
            watches_discriminator=watches_discriminator,
        )  # fmt: skip
        opened = open_discriminator(plan, discriminator, discriminator_learning_rate)
        self._training = DiscriminatorTraining(self, opened, has_shuffled_labels=has_shuffled_labels)
        self._warm_up_steps, self._warm_up_accuracy = warm_up_steps, warm_up_accuracy
        self._is_warm = False

    def warm_up(self, on_progress: OnProgress, stop: Callable[[], bool]) -> None:
        """Train the discriminator on replies of the model before the first step."""
        if not self._is_warm:
            self._training.warm_up(
                steps=self._warm_up_steps, pairs=self.plan.recipe.training.batch_size,
                accuracy=self._warm_up_accuracy, on_progress=on_progress, stop=stop,
            )  # fmt: skip
            self._is_warm = True

    def pair_accuracy(self, human: Sequence[RepliedPrompt], generated: Sequence[RepliedPrompt]) -> float:
        """Share of held-out pairs that the discriminator orders correctly."""
        return self._training.pair_accuracy(human, generated)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The discriminator and the guards."""
        _, values = super().state()
        return self._training.discriminator.state(), {**values, "is_warm": self._is_warm}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        super().load_state(tensors, values)
        self._training.discriminator.load_state(tensors)
        self._is_warm = values["is_warm"]

    def save(self, folder: Path) -> None:
        """Write the discriminator."""
        self._training.discriminator.save(folder / FOLDER)
