"""Rollouts of best-of-n distillation: the replies of the model before training that a discriminator prefers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from turnwise.training.examples.example import Example
from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts.discriminator import FOLDER, RepliedPrompt
from turnwise.training.rollouts.discriminator_training import DiscriminatorTraining, open_discriminator
from turnwise.training.rollouts.example_weights import with_weight
from turnwise.training.rollouts.gates import check_reply
from turnwise.training.rollouts.guards import GuardLimits
from turnwise.training.rollouts.reference_weights import ReferenceWeights
from turnwise.training.rollouts.reply_sampler import SampledReply
from turnwise.training.rollouts.rollout_source import OnProgress, StepRollouts
from turnwise.training.rollouts.sampled_rollouts import Prompt, SampledRollouts, with_replies


class BestOfNRollouts(SampledRollouts):
    """Chooses replies of the model before training.

    Args:
        plan: the run.
        num_samples: replies per prompt.
        cross_entropy: weight of the human replies.
        discriminator: as `open_discriminator` takes it.
        discriminator_learning_rate: its learning rate.
        warm_up_steps: most steps of its training.
        warm_up_accuracy: share of held-out pairs that ends its training.
        max_reply_tokens: longest reply.
        num_validation_prompts: held-out prompts whose replies are watched.
        limits: limits of the guards.
    """

    METRICS: ClassVar[tuple[str, ...]] = (*SampledRollouts.METRICS, "pair_accuracy")

    def __init__(
        self,
        plan: TrainingPlan,
        *,
        num_samples: int,
        cross_entropy: float,
        discriminator: str,
        discriminator_learning_rate: float | None,
        warm_up_steps: int,
        warm_up_accuracy: float,
        max_reply_tokens: int,
        num_validation_prompts: int,
        limits: GuardLimits,
    ) -> None:
        super().__init__(
            plan, max_reply_tokens=max_reply_tokens, num_validation_prompts=num_validation_prompts, limits=limits,
            watches_discriminator=False,  # it scores replies of the start, and watched are those of the current model
        )  # fmt: skip
        self._num_samples, self._cross_entropy = num_samples, cross_entropy
        self._warm_up_steps, self._warm_up_accuracy = warm_up_steps, warm_up_accuracy
        self._start = ReferenceWeights(plan.base.model.module)
        self._training = DiscriminatorTraining(
            self, open_discriminator(plan, discriminator, discriminator_learning_rate)
        )
        self._is_warm = False

    def warm_up(self, on_progress: OnProgress, stop: Callable[[], bool]) -> None:
        """Train the discriminator on replies of the model before training; it does not change afterwards."""
        if not self._is_warm:
            self._training.warm_up(
                steps=self._warm_up_steps, pairs=self.plan.recipe.training.batch_size,
                accuracy=self._warm_up_accuracy, on_progress=on_progress, stop=stop,
            )  # fmt: skip
            self._is_warm = True

    def step(self, examples: Sequence[Example], step: int) -> StepRollouts:
        """Sample replies to each prompt, and choose the best one that passes all gates."""
        prompts = [self.prompt(example) for example in examples]
        with self._start.active():
            self.sampler.sync()
            groups = self.sample(prompts, self._num_samples, self.step_seed(step))
        best = [self._best(prompt, group) for prompt, group in zip(prompts, groups, strict=True)]
        sampled = [self.sampled_example(p, reply) for p, reply in zip(prompts, best, strict=True) if reply is not None]
        human = [prompt.example for prompt in prompts]
        cross_entropy = self._cross_entropy if sampled else 1.0  # a step without a chosen reply learns the human ones
        sampled_weight = (1 - cross_entropy) / max(1, sum(int(e.target_mask.sum()) for e in sampled))
        human_weight = cross_entropy / sum(int(e.target_mask.sum()) for e in human)
        weighted = [with_weight(example, human_weight) for example in human if human_weight > 0]
        weighted += [with_weight(example, sampled_weight) for example in sampled]
        return StepRollouts(weighted, {"chosen": len(sampled) / len(prompts)})

    def _best(self, prompt: Prompt, group: Sequence[SampledReply]) -> SampledReply | None:
        human = prompt.human
        passed = [
            reply
            for reply in group
            if check_reply(reply.text, human.reply, human.prompt, is_complete=reply.is_complete).is_passed
        ]
        if not passed:
            return None
        scores_P = self._training.discriminator.scores(with_replies([prompt] * len(passed), passed))
        return passed[int(np.argmax(scores_P.cpu().numpy()))]

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
