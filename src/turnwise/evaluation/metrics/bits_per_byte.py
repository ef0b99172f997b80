"""How surprising what assistants really said is to a model, by byte: bits_per_byte."""

import math
from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import dialogue_id
from turnwise.evaluation.metric import FloatArray, ratio, statistics_array
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer


class BitsPerByteMetric(metric.Metric):
    """Cross-entropy by byte, so that models with different tokenizers may be compared."""

    SORT_ORDER = 40
    LABEL = "bits per byte"
    DESCRIPTION = (
        "Cross-entropy of what assistants said, all turns, by byte of it; models with different tokenizers compare "
        "by this one only."
    )
    BETTER = "lower"
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".4f"
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """Every dialogue in which an assistant says something."""
        del seed
        found = []
        for dialogue in dialogues:
            messages = dialogue.messages
            replies = [at for at, message in enumerate(messages) if message.role == "assistant" and message.full_text]
            scores = tuple(
                LoglikelihoodQuery(messages[: at + 1], dialogue.tools) for at in replies if at
            )  # nobody is asked to speak first
            if scores:
                found.append(Sample(dialogue_id(messages), loglikelihood_queries=scores))
        return found

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Nats, bytes and tokens."""
        del items
        return statistics_array(
            [
                (
                    sum(one.nll for one in each.loglikelihoods),
                    sum(one.num_bytes for one in each.loglikelihoods),
                    sum(one.num_tokens for one in each.loglikelihoods),
                )
                for each in found
            ],
            3,
        )

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """Bits by byte."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1]) / math.log(2)
