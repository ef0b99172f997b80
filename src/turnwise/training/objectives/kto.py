"""Kahneman–Tversky optimization (KTO): learn from single answers rated good or bad, without pairs.

L = 1/N Σ λ(y) (1 − v(x, y)) with v = σ(β (r − z₀)) for a good answer and σ(β (z₀ − r)) for a bad one,
r = log π(y|x)/π₀(y|x), and z₀ = max(0, mean of log π(y'|x)/π₀(y'|x)) over answers y' to other prompts (Ethayarajh et
al. 2024, equations 7 and 8). No gradient flows through z₀, the estimate of the KL divergence. By default λ gives good
and bad answers the same total weight.

Shapes: P packed segments (one answer each).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.rows import Document
from turnwise.models.language_model import LanguageModel
from turnwise.training import objective
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import Example
from turnwise.training.examples.preference_pairs import completion_examples
from turnwise.training.log_probs import segment_log_probs
from turnwise.training.objective import ExampleContext, LossOutput

RATING = "rating"  # label of an answer: its class weight, positive for a good answer, negative for a bad one


class KtoObjective(objective.Objective):
    """KTO on rated answers.

    Attributes:
        beta: strength of the KL constraint; larger values stay closer to the reference model.
        desirable_weight: weight λ of a good answer. None: good and bad answers get the same total weight.
        undesirable_weight: weight λ of a bad answer. None: likewise.
    """

    EMPTY_MESSAGE: ClassVar[str] = "no conversation with a rating"
    UNIT: ClassVar[str] = "answer"
    EXTRA_METRICS: ClassVar[tuple[str, ...]] = ("accuracy",)
    LEARNING_RATE: ClassVar[float] = 3e-5
    NEEDS_REFERENCE: ClassVar[bool] = True

    beta: float = Field(0.1, gt=0)
    desirable_weight: float | None = Field(None, gt=0)
    undesirable_weight: float | None = Field(None, gt=0)

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield the last answer with the rating +1 (good) or −1 (bad)."""
        if isinstance(item, Document) or item.rating is None:
            raise InvalidData(
                "The objective 'kto' needs an answer that is rated good or bad, but this row has no rating."
            )
        context = context.for_item(item)
        last = max((i for i, message in enumerate(item.messages) if message.role == "assistant"), default=None)
        if last is None:
            return
        for example in completion_examples([item.messages[: last + 1]], last, context, context.length) or ():
            yield replace(example, segment_labels={RATING: np.array([1 if item.rating else -1], np.float32)})

    def balance_labels(self, name: str, labels: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002, there is only one label
        """Multiply the ratings by the class weights λ."""
        num_good, num_bad = int((labels > 0).sum()), int((labels < 0).sum())
        has_both = bool(num_good and num_bad)
        larger = max(num_good, num_bad)
        good = self.desirable_weight if self.desirable_weight is not None else larger / num_good if has_both else 1.0
        bad = self.undesirable_weight if self.undesirable_weight is not None else larger / num_bad if has_both else 1.0
        return np.where(labels > 0, labels * good, labels * bad).astype(np.float32)

    def kl_example(self, example: Example, answer_example: Example, context: ExampleContext) -> Example:
        """Return the prompt of `example` with the answer of `answer_example`."""
        prompt = example.ids[: example.target_mask.argmax() + 1].tolist()
        first = int(answer_example.target_mask.argmax())
        # The prompt stays complete, as in serving; the answer is truncated.
        answer = answer_example.ids[first + 1 :][: context.length - len(prompt)].tolist()
        answer_mask = answer_example.target_mask[first:][: len(answer)].tolist()
        return Example.causal([*prompt, *answer], [False] * len(prompt) + answer_mask)

    @torch.no_grad()
    def batch_statistic(self, model: LanguageModel, batches: Sequence[Batch]) -> tuple[float, float]:
        """Return the sum and number of the log-ratios whose mean is z₀."""
        total, count = 0.0, 0
        for batch in batches:
            assert batch.kl_example is not None, "every example has one"
            assert batch.kl_example.ref_logprobs_P is not None, "computed before the first step"
            log_ratios_P = segment_log_probs(model, batch.kl_example) - batch.kl_example.ref_logprobs_P
            total, count = total + float(log_ratios_P.sum()), count + len(log_ratios_P)
        return total, count

    def reduce_statistic(self, total: float, count: float) -> float:
        """Return z₀."""
        return max(0.0, total / count)

    def loss(self, model: LanguageModel, batch: Batch, statistic: float = 0.0) -> LossOutput:
        """Compute the KTO loss, summed over answers; `statistic` is z₀."""
        assert batch.ref_logprobs_P is not None, "computed before the first step"
        log_ratios_P = segment_log_probs(model, batch) - batch.ref_logprobs_P
        ratings_P = batch.segment_labels[RATING]
        signs_P, weights_P = ratings_P.sign(), ratings_P.abs()
        values_P = torch.sigmoid(self.beta * signs_P * (log_ratios_P - statistic))
        num_correct = float(((log_ratios_P > statistic) == (signs_P > 0)).sum())
        return LossOutput((weights_P * (1 - values_P)).sum(), {"accuracy": num_correct})

    def loss_denominator(self, batch: Batch) -> float:
        """Number of answers."""
        return batch.units

    def metric_denominator(self, batch: Batch) -> float:
        """Number of answers."""
        return batch.units
