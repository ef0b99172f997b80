"""Self-play fine-tuning (SPIN): prefer the human reply to that of the model of the previous iteration.

L = −1/N Σ log σ(β [log π(y_h|x)/π_t(y_h|x) − log π(y|x)/π_t(y|x)]),  y sampled from π_t

The opponent π_t is the model when iteration t begins; it samples one reply per prompt. With the logistic loss this is
the loss of DPO (`dpo.py`) with sampled replies as the rejected ones (Chen et al. 2024, arXiv:2401.01335, equation 4.7).
No discriminator is needed.
"""

from typing import Any, ClassVar

from pydantic import Field
from torch.nn import functional as F

from turnwise.models.language_model import LanguageModel
from turnwise.training import sampled_replies_objective
from turnwise.training.examples.batches import Batch
from turnwise.training.log_probs import cross_entropy_sum, segment_log_probs
from turnwise.training.objective import LossOutput
from turnwise.training.rollouts.rollout_source import RolloutSource
from turnwise.training.rollouts.self_play_rollouts import SelfPlayRollouts


class SpinObjective(sampled_replies_objective.SampledRepliesObjective):
    """DPO between human replies and those of an earlier model.

    Attributes:
        beta: strength of the anchor to the opponent.
        iterations: number of opponents of a run.
    """

    TEXTS_PER_ROW: ClassVar[int] = 2

    beta: float = Field(0.1, gt=0)
    iterations: int = Field(2, ge=1)

    def open_rollouts(self, plan: Any) -> RolloutSource:
        """The source of the opponent's replies."""
        return SelfPlayRollouts(
            plan, iterations=self.iterations, max_reply_tokens=self.max_reply_tokens,
            num_validation_prompts=self.num_validation_prompts, limits=self.guard_limits,
        )  # fmt: skip

    def loss(self, model: LanguageModel, batch: Batch, statistic: float = 0.0) -> LossOutput:  # noqa: ARG002
        """Compute the loss summed over pairs; the cross-entropy of a batch without pairs."""
        if batch.ref_logprobs_P is None:
            return LossOutput(cross_entropy_sum(model, batch))
        log_ratios_N2 = (segment_log_probs(model, batch) - batch.ref_logprobs_P).view(-1, 2)
        margins_N = self.beta * (log_ratios_N2[:, 0] - log_ratios_N2[:, 1])
        accuracy = float((margins_N > 0).sum())
        return LossOutput(-F.logsigmoid(margins_N).sum(), {"accuracy": accuracy})

    def loss_denominator(self, batch: Batch) -> float:
        """Number of pairs; number of tokens of a batch without pairs."""
        return batch.target_weight if batch.ref_logprobs_P is None else batch.units
