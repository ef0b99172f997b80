"""Character n-grams shared with what a person said: chrf (Popović 2015), by sacrebleu."""

from collections.abc import Sequence

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.items import Found, Item
from turnwise.evaluation.metric import Floats, rows
from turnwise.evaluation.replies import reply_items


class Metric(metric.Metric):
    """Corpus chrF2."""

    ORDER = 30
    LABEL = "chrF"
    ABOUT = "F2 of the character n-grams, up to 6, that answers share with what was said there (sacrebleu's chrF2)."
    BETTER = "higher"
    JUDGED = True
    SHOWN = ".2f"

    def items(self, dialogues: Sequence[Conversation], seed: int) -> list[Item]:
        """The last replies."""
        del seed
        return reply_items(dialogues)

    def statistics(self, items: Sequence[Item], found: Sequence[Found]) -> Floats:
        """sacrebleu's own: n-grams of the answer, of the reference, and of both, for each order."""
        from sacrebleu.metrics.chrf import CHRF

        scorer = CHRF()
        per_item = scorer._extract_corpus_statistics(
            [each.answers[0].text for each in found], [[item.reference for item in items]]
        )
        return rows(per_item, 3 * scorer.char_order)

    def value(self, totals_XK: Floats) -> Floats:
        """sacrebleu's score of summed statistics, 0 to 100."""
        from sacrebleu.metrics.chrf import CHRF

        scorer = CHRF()
        flat = totals_XK.reshape(-1, totals_XK.shape[-1])
        found = [scorer._compute_score_from_stats(list(row)).score for row in flat]
        return np.array(found, dtype=np.float64).reshape(totals_XK.shape[:-1])
