"""Best-of-n distillation: SFT on the sampled replies that a discriminator scores highest.

The model before training answers each prompt n times. Of the replies that pass all gates (`rollouts/gates.py`), the one
with the highest score is learned with cross-entropy, mixed with the human replies: one round of expert iteration
(Anthony et al. 2017, arXiv:1705.08439), also known as rejection-sampling fine-tuning. The discriminator is trained
before the first step. It is the control that adversarial tuning has to beat: the same discriminator and gates, without
policy gradients.
"""

from typing import Any, ClassVar

from pydantic import Field

from turnwise.training import sampled_replies_objective
from turnwise.training.rollouts.best_of_n_rollouts import BestOfNRollouts
from turnwise.training.rollouts.rollout_source import RolloutSource


class BestOfNObjective(sampled_replies_objective.DiscriminatorObjective):
    """SFT on the best of n sampled replies.

    Attributes:
        num_samples: replies per prompt, n.
        cross_entropy: weight of the human replies in the loss; sampled replies have the rest.
    """

    DETECTS_LOSS_SPIKES: ClassVar[bool] = True

    num_samples: int = Field(8, ge=1)
    cross_entropy: float = Field(0.25, ge=0, le=1)

    def open_rollouts(self, plan: Any) -> RolloutSource:
        """The source of chosen replies."""
        return BestOfNRollouts(
            plan, num_samples=self.num_samples, cross_entropy=self.cross_entropy, discriminator=self.discriminator,
            discriminator_learning_rate=self.discriminator_learning_rate, warm_up_steps=self.warm_up_steps,
            warm_up_accuracy=self.warm_up_accuracy, max_reply_tokens=self.max_reply_tokens,
            num_validation_prompts=self.num_validation_prompts, limits=self.guard_limits,
        )  # fmt: skip
