"""chrF (Popović 2015), computed with sacrebleu."""

from collections.abc import Sequence

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult

BETA = 2  # recall counts twice as much as precision


class ChrfMetric(Metric):
    """Corpus chrF2 of the generated replies."""

    SORT_ORDER = 30
    LABEL = "chrF"
    DESCRIPTION = "F2 score of character n-grams up to length 6, generated against reference reply (sacrebleu's chrF2)."
    BETTER = "higher"
    RANGE = (0.0, 100.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".2f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """sacrebleu's statistics: n-grams of the reply, of the reference, and matching ones, for every order."""
        from sacrebleu.metrics.chrf import CHRF

        scorer = CHRF()
        rows = scorer._extract_corpus_statistics(
            [result.outputs[0].text for result in results], [[sample.reference for sample in samples]]
        )
        return statistics_array(rows, 3 * scorer.char_order)

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """chrF between 0 and 100: F2 of precision and recall, averaged over the orders that occur in both texts."""
        reply, reference, matches = (totals_XK[..., column::3] for column in range(3))
        is_counted = (reply > 0) & (reference > 0)
        orders = np.maximum(1, is_counted.sum(axis=-1))
        precision = np.where(is_counted, matches / np.maximum(1, reply), 0).sum(axis=-1) / orders
        recall = np.where(is_counted, matches / np.maximum(1, reference), 0).sum(axis=-1) / orders
        denominator = BETA**2 * precision + recall
        score: FloatArray = 100 * (1 + BETA**2) * precision * recall / np.where(denominator == 0, 1, denominator)
        return score
