"""Direct preference optimization (DPO): raise the probability of chosen replies against rejected ones.

L = −1/N Σ log σ(β [log π(y⁺|x)/π₀(y⁺|x) − log π(y⁻|x)/π₀(y⁻|x)])

π₀ is the reference model, the model before training (Rafailov et al. 2023, equation 7). With `label_smoothing` ε, a
share ε of the preferences is assumed to be wrong (cDPO, Mitchell 2023). With `sft_weight` α, α times the chosen reply's
mean cross-entropy per token is added, which keeps both replies from becoming less likely (Pang et al. 2024). The
reference log-probabilities are computed once, before the first step.

Shapes: N pairs or targets, P packed segments (two per pair).
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from torch.nn import functional as F

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.rows import Document
from turnwise.models.language_model import LanguageModel
from turnwise.training import objective
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.examples.preference_pairs import common_prefix_length, completion_examples, concatenate_segments
from turnwise.training.log_probs import segment_log_probs
from turnwise.training.objective import ExampleContext, LossOutput


class DpoObjective(objective.Objective):
    """DPO on pairs of a chosen and a rejected completion.

    Attributes:
        beta: strength of the KL constraint; larger values stay closer to the reference model.
        label_smoothing: share of preference labels assumed to be wrong.
        sft_weight: weight of the cross-entropy on the chosen completion.
    """

    EMPTY_MESSAGE: ClassVar[str] = "no conversation with a rejected completion"
    UNIT: ClassVar[str] = "pair"
    EXTRA_METRICS: ClassVar[tuple[str, ...]] = ("accuracy", "margin")
    LEARNING_RATE: ClassVar[float] = 3e-5
    NEEDS_REFERENCE: ClassVar[bool] = True

    beta: float = Field(0.1, gt=0)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    sft_weight: float = Field(0.0, ge=0)

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield one example of two segments: the chosen and the rejected completion, each after the prompt."""
        if isinstance(item, Document) or not item.rejected:
            raise InvalidData(
                "The objective 'dpo' needs a chosen and a rejected answer, but this row has no rejected answer."
            )
        context = context.for_item(item)
        common = common_prefix_length(item.messages, item.rejected)
        # Both segments share a row, so each may fill half of it.
        pair = completion_examples((item.messages, item.rejected), common, context, context.length // 2)
        if pair is not None:
            yield concatenate_segments(pair)

    def loss(self, model: LanguageModel, batch: Batch, statistic: float = 0.0) -> LossOutput:  # noqa: ARG002
        """Compute the DPO loss, summed over pairs."""
        assert batch.ref_logprobs_P is not None, "computed before the first step"
        log_probs_P = segment_log_probs(model, batch)
        log_ratios_N2 = (log_probs_P - batch.ref_logprobs_P).view(-1, 2)
        margins_N = self.beta * (log_ratios_N2[:, 0] - log_ratios_N2[:, 1])
        losses_N = -(1 - self.label_smoothing) * F.logsigmoid(margins_N) - self.label_smoothing * F.logsigmoid(
            -margins_N
        )
        if self.sft_weight:
            num_targets_P = torch.zeros_like(log_probs_P)
            segments_N = batch.segment_ids_BT[batch.targets_BT != IGNORED].long() - 1
            num_targets_P.index_add_(0, segments_N, torch.ones_like(segments_N, dtype=num_targets_P.dtype))
            losses_N = losses_N - self.sft_weight * (log_probs_P / num_targets_P).view(-1, 2)[:, 0]
        extra_metrics = {"accuracy": float((margins_N > 0).sum()), "margin": float(margins_N.detach().sum())}
        return LossOutput(losses_N.sum(), extra_metrics)

    def loss_denominator(self, batch: Batch) -> float:
        """Number of pairs."""
        return batch.units

    def metric_denominator(self, batch: Batch) -> float:
        """Number of pairs."""
        return batch.units
