"""Word n-grams shared with what a person said: bleu (Papineni et al. 2002), by sacrebleu."""

from collections.abc import Sequence

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.items import Found, Item
from turnwise.evaluation.metric import Floats, rows
from turnwise.evaluation.replies import reply_items
from turnwise.evaluation.words import is_cjk

ORDER = 4


class Metric(metric.Metric):
    """Corpus BLEU."""

    ORDER = 110
    LABEL = "BLEU"
    ABOUT = (
        "Corpus BLEU-4 of sacrebleu. A dialogue has many good answers, so this says little: templates do well by it."
    )
    BETTER = "higher"
    SHOWN = ".2f"

    def items(self, dialogues: Sequence[Conversation], seed: int) -> list[Item]:
        """The last replies."""
        del seed
        return reply_items(dialogues)

    def statistics(self, items: Sequence[Item], found: Sequence[Found]) -> Floats:
        """sacrebleu's own: lengths, then n-grams that match and that there are, for each order."""
        from sacrebleu.metrics.bleu import BLEU

        references = [item.reference for item in items]
        scorer = BLEU(tokenize="zh" if is_cjk(references) else "13a", force=True)
        return rows(
            scorer._extract_corpus_statistics([each.answers[0].text for each in found], [references]), 2 + 2 * ORDER
        )

    def value(self, totals_XK: Floats) -> Floats:
        """sacrebleu's score of summed statistics, 0 to 100."""
        from sacrebleu.metrics.bleu import BLEU

        def score(row: list[int]) -> float:
            return float(BLEU.compute_bleu(row[2 : 2 + ORDER], row[2 + ORDER :], row[0], row[1]).score)

        flat = totals_XK.reshape(-1, totals_XK.shape[-1])
        return np.array([score(row) for row in flat.astype(int).tolist()], dtype=np.float64).reshape(
            totals_XK.shape[:-1]
        )
