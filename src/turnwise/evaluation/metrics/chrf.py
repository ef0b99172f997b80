"""Character n-grams shared with what a person said: chrf (Popović 2015), by sacrebleu."""

from collections.abc import Sequence

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult

BETA = 2  # recall counts twice as much as precision


class ChrfMetric(metric.Metric):
    """Corpus chrF2."""

    SORT_ORDER = 30
    LABEL = "chrF"
    DESCRIPTION = (
        "F2 of the character n-grams, up to 6, that answers share with what was said there (sacrebleu's chrF2)."
    )
    BETTER = "higher"
    RANGE = (0.0, 100.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".2f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """sacrebleu's own: n-grams of the answer, of the reference, and of both, for each order."""
        from sacrebleu.metrics.chrf import CHRF

        scorer = CHRF()
        per_item = scorer._extract_corpus_statistics(
            [each.outputs[0].text for each in found], [[item.reference for item in items]]
        )
        return statistics_array(per_item, 3 * scorer.char_order)

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """F2 of mean precision and recall over the orders that there are, 0 to 100, as sacrebleu sums it up."""
        said, wanted, both = (totals_XK[..., kind::3] for kind in range(3))
        there = (said > 0) & (wanted > 0)
        orders = np.maximum(1, there.sum(axis=-1))
        precision = np.where(there, both / np.maximum(1, said), 0).sum(axis=-1) / orders
        recall = np.where(there, both / np.maximum(1, wanted), 0).sum(axis=-1) / orders
        whole = BETA**2 * precision + recall
        found: FloatArray = 100 * (1 + BETA**2) * precision * recall / np.where(whole == 0, 1, whole)
        return found
