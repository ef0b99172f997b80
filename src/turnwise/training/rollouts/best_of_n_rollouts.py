"""Rollouts of best-of-n distillation: the replies of the model before training that a discriminator prefers."""

from collections.abc import Sequence

import numpy as np

from turnwise.training.examples.example import Example
from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts.discriminator_rollouts import DiscriminatorRollouts
from turnwise.training.rollouts.example_weights import with_weight
from turnwise.training.rollouts.gates import check_reply
from turnwise.training.rollouts.guards import GuardLimits
from turnwise.training.rollouts.reference_weights import ReferenceWeights
from turnwise.training.rollouts.reply_sampler import SampledReply
from turnwise.training.rollouts.rollout_source import StepRollouts
from turnwise.training.rollouts.sampled_rollouts import Prompt, with_replies


class BestOfNRollouts(DiscriminatorRollouts):
    """Chooses replies of the model before training. The discriminator does not change after its warm-up.

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
            plan, discriminator=discriminator, discriminator_learning_rate=discriminator_learning_rate,
            warm_up_steps=warm_up_steps, warm_up_accuracy=warm_up_accuracy, max_reply_tokens=max_reply_tokens,
            num_validation_prompts=num_validation_prompts, limits=limits,
            watches_discriminator=False,  # it scores replies of the start, and watched are those of the current model
        )  # fmt: skip
        self._num_samples, self._cross_entropy = num_samples, cross_entropy
        self._start = ReferenceWeights(plan.base.model.module)

    def step(self, examples: Sequence[Example], step: int) -> StepRollouts:
        """Sample replies to each prompt, and choose the best one that passes all gates."""
        prompts = [self.prompt(example) for example in examples]
        with self._start.active():
            self.sampler.sync()
            groups = self.sample(prompts, self._num_samples, self.step_seed(step))
        best = [self._best(prompt, group) for prompt, group in zip(prompts, groups, strict=True)]
        chosen = [
            [] if reply is None else [self.sampled_example(prompt, reply)]
            for prompt, reply in zip(prompts, best, strict=True)
        ]
        num_chosen = sum(map(len, chosen))
        cross_entropy = (
            self._cross_entropy if num_chosen else 1.0
        )  # a step without a chosen reply learns the human ones
        num_sampled_targets = sum(int(example.target_mask.sum()) for sampled in chosen for example in sampled)
        sampled_weight = (1 - cross_entropy) / max(1, num_sampled_targets)
        human_weight = cross_entropy / sum(int(prompt.example.target_mask.sum()) for prompt in prompts)
        weighted: list[Example] = []
        for prompt, sampled in zip(prompts, chosen, strict=True):
            human = [with_weight(prompt.example, human_weight)] if human_weight > 0 else []
            weighted += self.join(prompt, [*human, *(with_weight(example, sampled_weight) for example in sampled)])
        return StepRollouts(weighted, {"chosen": num_chosen / len(prompts)})

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
