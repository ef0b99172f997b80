"""Adversarial tuning: the model learns from its own replies, which a discriminator compares with those of people.

Phases: (1) The model comes from SFT. (2) Warm-up: a discriminator D learns to tell human replies from sampled ones.
(3) Every step samples G replies to each prompt with the current weights, rewards them, and makes one policy-gradient
step and one step of the discriminator. (4) Guards on held-out replies end the run (`rollouts/guards.py`).

reward r = w · (share of passed gates) + (1 − w) · [all gates passed] · σ(D(sampled) − D(human))
advantage A = (r − mean of the group) / standard deviation of the group
L = 1/N_s Σ [−A log π(y) + β (ρ − log ρ − 1)] + λ/N_h Σ −log π(y_h),  ρ = π₀(y) / π(y)

The sums run over the N_s tokens of sampled and the N_h tokens of human replies. The discriminator minimizes
−log σ(D(human) − D(sampled)). Sources: GAD (Ye et al. 2025, arXiv:2511.10643) for the pairwise discriminator that keeps
learning; GRPO (Shao et al. 2024, arXiv:2402.03300) for group-relative advantages and the KL estimate; TextGAIL (Wu et
al. 2021, arXiv:2004.13796) for the mix with cross-entropy. Replies are used once, so no importance ratio is needed.

Shapes: N targets.
"""

from typing import Any

import torch
from pydantic import Field

from turnwise.models.language_model import LanguageModel
from turnwise.training import sampled_replies_objective
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import IGNORED
from turnwise.training.log_probs import cross_entropy_sum, token_losses
from turnwise.training.objective import LossOutput
from turnwise.training.rollouts.adversarial_rollouts import (
    ADVANTAGE,
    IS_SAMPLED,
    REF_LOGPROB,
    AdversarialOptions,
    AdversarialRollouts,
)
from turnwise.training.rollouts.rollout_source import RolloutSource


class AdversarialObjective(sampled_replies_objective.DiscriminatorObjective):
    """Policy gradients on sampled replies, rewarded by gates and a discriminator.

    Attributes:
        num_samples: replies per prompt and step, G.
        gate_weight: weight of the gates in the reward, w.
        kl: weight of the KL anchor to the model before training, β.
        cross_entropy: weight of the cross-entropy of human replies, λ.
        is_frozen: keep the discriminator as it is after the warm-up (a control).
        has_shuffled_labels: train the discriminator on random labels (a placebo).
    """

    num_samples: int = Field(4, ge=2)
    gate_weight: float = Field(0.3, ge=0, le=1)
    kl: float = Field(0.03, ge=0)
    cross_entropy: float = Field(0.25, ge=0)
    is_frozen: bool = False
    has_shuffled_labels: bool = False

    def open_rollouts(self, plan: Any) -> RolloutSource:
        """The source of sampled replies."""
        options = AdversarialOptions(
            num_samples=self.num_samples, cross_entropy=self.cross_entropy, gate_weight=self.gate_weight,
            discriminator=self.discriminator, discriminator_learning_rate=self.discriminator_learning_rate,
            warm_up_steps=self.warm_up_steps, warm_up_accuracy=self.warm_up_accuracy, is_frozen=self.is_frozen,
            has_shuffled_labels=self.has_shuffled_labels,
        )  # fmt: skip
        return AdversarialRollouts(
            plan, options, max_reply_tokens=self.max_reply_tokens,
            num_validation_prompts=self.num_validation_prompts, limits=self.guard_limits,
        )  # fmt: skip

    def loss(self, model: LanguageModel, batch: Batch, statistic: float = 0.0) -> LossOutput:  # noqa: ARG002
        """Compute the batch's part of L; the cross-entropy of a batch without sampled replies."""
        if IS_SAMPLED not in batch.token_labels:
            return LossOutput(cross_entropy_sum(model, batch))
        assert batch.weights_BT is not None, "sources weight every token"
        is_target_BT = batch.targets_BT != IGNORED
        log_probs_N = -token_losses(model, batch)
        weights_N = batch.weights_BT[is_target_BT]
        is_sampled_N, advantages_N, ref_N = (
            batch.token_labels[name][is_target_BT] for name in (IS_SAMPLED, ADVANTAGE, REF_LOGPROB)
        )
        log_ratios_N = ref_N - log_probs_N
        divergence_N = torch.exp(log_ratios_N) - log_ratios_N - 1
        policy_N = -advantages_N * log_probs_N + self.kl * divergence_N
        losses_N = torch.where(is_sampled_N > 0, policy_N, -log_probs_N)
        divergence = float((weights_N * is_sampled_N * divergence_N.detach()).sum())
        return LossOutput((weights_N * losses_N).sum(), {"kl": divergence})

    def loss_denominator(self, batch: Batch) -> float:
        """The batch's share of a step of sampled replies; else the number of tokens."""
        return batch.units if IS_SAMPLED in batch.token_labels else batch.target_weight
