"""Rollouts of adversarial tuning: sampled replies with advantages from gates and a discriminator that keeps learning.

Shapes: P prompts, G replies per prompt, B rows, T tokens in a row, N targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.log_probs import autocast, token_losses
from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts.discriminator_rollouts import DiscriminatorRollouts
from turnwise.training.rollouts.example_weights import with_weight
from turnwise.training.rollouts.gates import check_reply
from turnwise.training.rollouts.guards import GuardLimits
from turnwise.training.rollouts.reference_weights import ReferenceWeights
from turnwise.training.rollouts.reply_sampler import SampledReply
from turnwise.training.rollouts.rollout_source import StepRollouts
from turnwise.training.rollouts.sampled_rollouts import Prompt, with_replies

ADVANTAGE, REF_LOGPROB, IS_SAMPLED = "advantage", "ref_logprob", "is_sampled"  # token labels
MIN_DEVIATION = 1e-4  # of the rewards in a group


@dataclass(frozen=True)
class AdversarialOptions:
    """Settings of the rollouts, see `objectives/adversarial.py`."""

    num_samples: int
    cross_entropy: float
    gate_weight: float
    discriminator: str
    discriminator_learning_rate: float | None
    warm_up_steps: int
    warm_up_accuracy: float
    is_frozen: bool
    has_shuffled_labels: bool


class AdversarialRollouts(DiscriminatorRollouts):
    """Samples a group of replies to each prompt, and trains the discriminator on them afterwards."""

    def __init__(
        self,
        plan: TrainingPlan,
        options: AdversarialOptions,
        *,
        max_reply_tokens: int,
        num_validation_prompts: int,
        limits: GuardLimits,
    ) -> None:
        super().__init__(
            plan, discriminator=options.discriminator, discriminator_learning_rate=options.discriminator_learning_rate,
            warm_up_steps=options.warm_up_steps, warm_up_accuracy=options.warm_up_accuracy,
            has_shuffled_labels=options.has_shuffled_labels, max_reply_tokens=max_reply_tokens,
            num_validation_prompts=num_validation_prompts, limits=limits,
            watches_discriminator=not options.has_shuffled_labels,  # a placebo orders half of the pairs, on purpose
        )  # fmt: skip
        self._options = options
        self._reference = ReferenceWeights(plan.base.model.module)
        self._last_step: tuple[list[Prompt], list[list[SampledReply]], int] | None = None

    def step(self, examples: Sequence[Example], step: int) -> StepRollouts:
        """Sample replies and compute their advantages."""
        self.sampler.sync()
        prompts = [self.prompt(example) for example in examples]
        groups = self.sample(prompts, self._options.num_samples, self.step_seed(step))
        rewards_PG, metrics = self._rewards(prompts, groups)
        deviations_P1 = rewards_PG.std(dim=1, keepdim=True, correction=0)
        advantages_PG = (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)) / (deviations_P1 + MIN_DEVIATION)
        self._last_step = prompts, groups, step
        return StepRollouts(self._labelled(prompts, groups, advantages_PG), metrics)

    def _rewards(
        self, prompts: Sequence[Prompt], groups: Sequence[Sequence[SampledReply]]
    ) -> tuple[Tensor, dict[str, float]]:
        """Rewards `(P, G)`: w · (share of passed gates) + (1 − w) · [all passed] · σ(D(sampled) − D(human))."""
        discriminator, weight = self._training.discriminator, self._options.gate_weight
        gates = [
            [check_reply(r.text, p.human.reply, p.human.prompt, is_complete=r.is_complete) for r in group]
            for p, group in zip(prompts, groups, strict=True)
        ]
        flat = [
            text for p, group in zip(prompts, groups, strict=True) for text in with_replies([p] * len(group), group)
        ]
        human_P1 = discriminator.scores([prompt.human for prompt in prompts]).cpu()[:, None]
        sampled_PG = discriminator.scores(flat).cpu().view(len(prompts), -1)
        shares_PG = torch.tensor([[gate.share for gate in row] for row in gates])
        is_passed_PG = torch.tensor([[float(gate.is_passed) for gate in row] for row in gates])
        odds_PG = torch.sigmoid(sampled_PG - human_P1)
        rewards_PG = weight * shares_PG + (1 - weight) * is_passed_PG * odds_PG
        metrics = {
            "reward": float(rewards_PG.mean()),
            "gate_pass": float(is_passed_PG.mean()),
            "realism": float(odds_PG.mean()),
            "reply_tokens": float(np.mean([len(reply.token_ids) for group in groups for reply in group])),
        }
        return rewards_PG, metrics

    def _labelled(
        self, prompts: Sequence[Prompt], groups: Sequence[Sequence[SampledReply]], advantages_PG: Tensor
    ) -> list[Example]:
        """Human replies and sampled ones, with the weight of each token in the loss of the step."""
        sampled = [[self.sampled_example(p, r) for r in group] for p, group in zip(prompts, groups, strict=True)]
        num_human = sum(int(prompt.example.target_mask.sum()) for prompt in prompts)
        num_sampled = sum(int(example.target_mask.sum()) for group in sampled for example in group)
        units = 1 / (len(prompts) + sum(map(len, sampled)))
        human_weight, sampled_weight = self._options.cross_entropy / num_human, 1 / num_sampled
        examples = []
        for prompt, group, advantages_G in zip(prompts, sampled, advantages_PG.tolist(), strict=True):
            replies = [_with_labels(prompt.example, human_weight, units, 0.0, is_sampled=False)]
            for example, advantage in zip(group, advantages_G, strict=True):
                replies.append(_with_labels(example, sampled_weight, units, advantage, is_sampled=True))
            examples += self.join(prompt, replies)
        return examples

    def pack(self, examples: Sequence[Example], micro_batch_size: int) -> list[Batch]:
        """Collate examples and add the log-probabilities of the reference, the model before the first step."""
        batches = super().pack(examples, micro_batch_size)
        with self._reference.active():
            return [self._with_reference(batch) for batch in batches]

    def _with_reference(self, batch: Batch) -> Batch:
        device = self.plan.device
        with autocast(device, self.plan.dtype):
            losses_N = token_losses(self.model, batch.to(device)).cpu()
        ref_BT = torch.zeros(batch.ids_BT.shape)
        ref_BT[batch.targets_BT != IGNORED] = -losses_N
        return replace(batch, token_labels={**batch.token_labels, REF_LOGPROB: ref_BT})

    def finish_step(self) -> Mapping[str, float]:
        """Train the discriminator on the replies of the step."""
        if self._last_step is None or self._options.is_frozen:
            return {}
        prompts, groups, step = self._last_step
        loss, accuracy = self._training.update(prompts, groups, step)
        return {"discriminator_loss": loss, "discriminator_accuracy": accuracy}


def _with_labels(example: Example, weight: float, units: float, advantage: float, *, is_sampled: bool) -> Example:
    mask_T = example.target_mask.astype(np.float32)
    labels = {ADVANTAGE: advantage * mask_T, IS_SAMPLED: float(is_sampled) * mask_T}
    return replace(with_weight(example, weight), units=units, token_labels=labels)
