"""Kahneman–Tversky optimisation: from answers that somebody found good or bad, one by one, without pairs.

L = 1/N Σ λ(y) (1 − v(x, y)) with v = σ(β (r − z₀)) for a good answer, σ(β (z₀ − r)) for a bad one,
r = log π(y|x)/π₀(y|x), and z₀ = max(0, mean of log π(y'|x)/π₀(y'|x)) over answers y' to other prompts (Ethayarajh et
al. 2024, equations 7 and 8). No gradient flows through z₀. λ makes good and bad answers count the same in sum, unless
it is given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation
from turnwise.data.sources import Document
from turnwise.models.language_model import LanguageModel
from turnwise.training import objective
from turnwise.training.examples.batches import Batch, Example
from turnwise.training.examples.preference_pairs import completion_examples
from turnwise.training.log_probs import segment_log_probs
from turnwise.training.objective import ExampleContext, LossOutput


class Objective(objective.Objective):
    """Learns from thumbs.

    Attributes:
        beta: how closely the model stays to what it was.
        good: what a good answer weighs; None makes both kinds weigh the same in sum.
        bad: what a bad answer weighs; likewise.
    """

    EMPTY_MESSAGE: ClassVar[str] = "no conversation with a rating"
    UNIT: ClassVar[str] = "answer"
    EXTRA_METRICS: ClassVar[tuple[str, ...]] = ("accuracy",)
    NEEDS_REFERENCE: ClassVar[bool] = True

    beta: float = Field(0.1, gt=0)
    good: float | None = Field(None, gt=0)
    bad: float | None = Field(None, gt=0)

    def examples(self, item: Conversation | Document, frame: ExampleContext) -> Iterator[Example]:
        """The last answer, labelled +1 or −1."""
        if isinstance(item, Document) or item.rating is None:
            raise InvalidData(
                "Tuning by ratings ('kto') needs answers that are labelled good or bad. This row has no label."
            )
        frame = frame.for_item(item)
        last = max((i for i, message in enumerate(item.messages) if message.role == "assistant"), default=None)
        found = None if last is None else completion_examples([item.messages[: last + 1]], last, frame, frame.length)
        for end in found or ():
            yield replace(end, labels=(1.0 if item.rating else -1.0,))

    def balance_labels(self, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The labels times what they weigh."""
        good, bad = int((labels > 0).sum()), int((labels < 0).sum())
        most = max(good, bad) if good and bad else 1
        weight_of_good = self.good if self.good is not None else most / good if good and bad else 1.0
        weight_of_bad = self.bad if self.bad is not None else most / bad if good and bad else 1.0
        return np.where(labels > 0, labels * weight_of_good, labels * weight_of_bad).astype(np.float32)

    def kl_example(self, example: Example, other: Example, frame: ExampleContext) -> Example:
        """The answer of another dialogue after this one's prompt."""
        prompt = example.ids[: example.counted.argmax() + 1].tolist()
        first = int(other.counted.argmax())
        answer = other.ids[first + 1 :][: frame.length - len(prompt)].tolist()  # the prompt stays as it is served
        counts = other.counted[first:][: len(answer)].tolist()
        return Example.causal([*prompt, *answer], [False] * len(prompt) + counts)

    @torch.no_grad()
    def batch_statistic(self, model: LanguageModel, batches: Sequence[Batch]) -> tuple[float, float]:
        """What z₀ is the mean of, over all of a step's rows."""
        gained, count = 0.0, 0
        for batch in batches:
            assert batch.kl_example is not None, "every example has one"
            assert batch.kl_example.ref_logprobs_P is not None, "computed before the first step"
            gained_P = segment_log_probs(model, batch.kl_example) - batch.kl_example.ref_logprobs_P
            gained, count = gained + float(gained_P.sum()), count + len(gained_P)
        return gained, count

    def reduce_statistic(self, total: float, count: float) -> float:
        """z₀."""
        return max(0.0, total / count)

    def loss(self, model: LanguageModel, batch: Batch, before: float = 0.0) -> LossOutput:
        """The formula, summed over answers."""
        assert batch.ref_logprobs_P is not None, "computed before the first step"
        assert batch.labels_P is not None, "every example has one"
        gained_P = segment_log_probs(model, batch) - batch.ref_logprobs_P
        signs_P, weights_P = batch.labels_P.sign(), batch.labels_P.abs()
        values_P = torch.sigmoid(self.beta * signs_P * (gained_P - before))
        right = float(((gained_P > before) == (signs_P > 0)).sum())
        return LossOutput((weights_P * (1 - values_P)).sum(), {"accuracy": right})

    def share(self, batch: Batch) -> float:
        """Per answer."""
        return batch.units

    def metric_denominator(self, batch: Batch) -> float:
        """Per answer."""
        return batch.units
