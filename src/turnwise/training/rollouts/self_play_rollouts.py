"""Rollouts of self-play: pairs of the human reply and a reply of the opponent, the model of the previous iteration."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import Example
from turnwise.training.examples.preference_pairs import concatenate_segments
from turnwise.training.log_probs import autocast, segment_log_probs
from turnwise.training.plan import TrainingPlan
from turnwise.training.rollouts.guards import GuardLimits
from turnwise.training.rollouts.reference_weights import ReferenceWeights
from turnwise.training.rollouts.rollout_source import StepRollouts
from turnwise.training.rollouts.sampled_rollouts import SampledRollouts


class SelfPlayRollouts(SampledRollouts):
    """Samples replies of the opponent.

    Args:
        plan: the run.
        iterations: number of opponents of the run; each is the model when its iteration begins.
        max_reply_tokens: longest reply.
        num_validation_prompts: held-out prompts whose replies are watched.
        limits: limits of the guards.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        *,
        iterations: int,
        max_reply_tokens: int,
        num_validation_prompts: int,
        limits: GuardLimits,
    ) -> None:
        super().__init__(
            plan, max_reply_tokens=max_reply_tokens, num_validation_prompts=num_validation_prompts, limits=limits
        )
        self._iteration_steps = max(1, -(-plan.total_steps // iterations))
        self._opponent, self._opponent_step = ReferenceWeights(plan.base.model.module), 0

    def step(self, examples: Sequence[Example], step: int) -> StepRollouts:
        """Return pairs of a human and a sampled reply, as segments of one example each."""
        first_step = step - step % self._iteration_steps
        if first_step != self._opponent_step:
            self._opponent.update()
            self._opponent_step = first_step
        prompts = [self.prompt(example) for example in examples]
        with self._opponent.active():
            self.sampler.sync()
            groups = self.sample(prompts, 1, self.step_seed(step))
        return StepRollouts(
            [
                concatenate_segments([prompt.example, self.sampled_example(prompt, reply)])
                for prompt, (reply,) in zip(prompts, groups, strict=True)
            ]
        )

    def pack(self, examples: Sequence[Example], micro_batch_size: int) -> list[Batch]:
        """Collate pairs and add the log-probabilities of both replies under the opponent."""
        batches = super().pack(examples, micro_batch_size)
        with self._opponent.active(), autocast(self.plan.device, self.plan.dtype):
            return [
                replace(batch, ref_logprobs_P=segment_log_probs(self.model, batch.to(self.plan.device)).cpu())
                for batch in batches
            ]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The opponent and the guards."""
        _, values = super().state()
        tensors = {name: weight.cpu().contiguous() for name, weight in self._opponent.weights.items()}
        return tensors, {**values, "opponent_step": self._opponent_step}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        super().load_state(tensors, values)
        self._opponent.load(dict(tensors))
        self._opponent_step = values["opponent_step"]
