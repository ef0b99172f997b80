"""Direct preference optimisation: of two ends of a dialogue, the better one becomes likelier than it was, compared.

L = −1/N Σ log σ(β [log π(y⁺|x)/π₀(y⁺|x) − log π(y⁻|x)/π₀(y⁻|x)]), π₀ being the model before training (Rafailov et al.
2023, equation 7). With `smoothing` ε, a share ε of the preferences is taken to be wrong (Mitchell 2023, cDPO); with
`sft` α, α times the better end's cross-entropy per token is added, against both ends getting less likely (Pang et al.
2024). What π₀ says is computed once, before the first step.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from torch.nn import functional as F

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.sources import Document
from turnwise.models.language_model import LanguageModel
from turnwise.training import objective
from turnwise.training.examples.batches import IGNORED, Batch, Example
from turnwise.training.examples.preference_pairs import common_prefix_length, completion_examples, concatenate_segments
from turnwise.training.log_probs import segment_log_probs
from turnwise.training.objective import ExampleContext, LossOutput


class Objective(objective.Objective):
    """Learns from pairs.

    Attributes:
        beta: how closely the model stays to what it was.
        smoothing: the share of preferences that are the wrong way round.
        sft: how much the better end's own cross-entropy counts.
    """

    EMPTY_MESSAGE: ClassVar[str] = "no conversation with a rejected end"
    UNIT: ClassVar[str] = "pair"
    EXTRA_METRICS: ClassVar[tuple[str, ...]] = ("accuracy", "margin")
    NEEDS_REFERENCE: ClassVar[bool] = True

    beta: float = Field(0.1, gt=0)
    smoothing: float = Field(0.0, ge=0, lt=0.5)
    sft: float = Field(0.0, ge=0)

    def examples(self, item: Conversation | Document, frame: ExampleContext) -> Iterator[Example]:
        """The two ends, each after the common beginning, as one example of two parts."""
        if isinstance(item, Document) or not item.rejected:
            raise InvalidData(
                "Preference tuning ('dpo') needs pairs: a prompt, the chosen answer and a rejected one. This row has "
                "no rejected answer."
            )
        frame = frame.for_item(item)
        common = common_prefix_length(item.messages, item.rejected)
        pair = completion_examples((item.messages, item.rejected), common, frame, frame.length // 2)
        if pair is not None:
            yield concatenate_segments(pair)

    def loss(self, model: LanguageModel, batch: Batch, before: float = 0.0) -> LossOutput:  # noqa: ARG002
        """The formula, summed over pairs."""
        assert batch.ref_logprobs_P is not None, "computed before the first step"
        log_probs_P = segment_log_probs(model, batch)
        gained_N2 = (log_probs_P - batch.ref_logprobs_P).view(-1, 2)
        margins_N = self.beta * (gained_N2[:, 0] - gained_N2[:, 1])
        losses_N = -(1 - self.smoothing) * F.logsigmoid(margins_N) - self.smoothing * F.logsigmoid(-margins_N)
        if self.sft:
            counted_P = torch.zeros_like(log_probs_P)
            parts_N = batch.segment_ids_BT[batch.targets_BT != IGNORED].long() - 1
            counted_P.index_add_(0, parts_N, torch.ones_like(parts_N, dtype=counted_P.dtype))
            losses_N = losses_N - self.sft * (log_probs_P / counted_P).view(-1, 2)[:, 0]
        extra_metrics = {"accuracy": float((margins_N > 0).sum()), "margin": float(margins_N.detach().sum())}
        return LossOutput(losses_N.sum(), extra_metrics)

    def share(self, batch: Batch) -> float:
        """Per pair."""
        return batch.units

    def metric_denominator(self, batch: Batch) -> float:
        """Per pair."""
        return batch.units
