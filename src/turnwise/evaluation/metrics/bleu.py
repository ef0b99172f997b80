"""Word n-grams shared with what a person said: bleu (Papineni et al. 2002), by sacrebleu."""

from collections.abc import Sequence

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.evaluation.word_tokens import is_cjk

ORDER = 4


class BleuMetric(metric.Metric):
    """Corpus BLEU."""

    SORT_ORDER = 110
    LABEL = "BLEU"
    DESCRIPTION = (
        "Corpus BLEU-4 of sacrebleu. A dialogue has many good answers, so this says little: templates do well by it."
    )
    BETTER = "higher"
    RANGE = (0.0, 100.0)
    VALUE_FORMAT = ".2f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """sacrebleu's own: lengths, then n-grams that match and that there are, for each order."""
        from sacrebleu.metrics.bleu import BLEU

        references = [item.reference for item in items]
        scorer = BLEU(tokenize="zh" if is_cjk(references) else "13a", force=True)
        return statistics_array(
            scorer._extract_corpus_statistics([each.outputs[0].text for each in found], [references]), 2 + 2 * ORDER
        )

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """0 to 100, as sacrebleu sums it up: where an order has no match, as if it had a half, a quarter and so on."""
        said, wanted = totals_XK[..., 0], totals_XK[..., 1]
        both, there = totals_XK[..., 2 : 2 + ORDER], totals_XK[..., 2 + ORDER :]
        missed = np.cumsum(both == 0, axis=-1)
        matches = np.where(both == 0, 0.5**missed, both)
        logs = np.log(matches / np.maximum(1, there)).mean(axis=-1)
        brevity = np.minimum(0, 1 - wanted / np.maximum(1e-9, said))
        whole = (there > 0).all(axis=-1) & (both > 0).any(axis=-1)
        return np.where(whole, 100 * np.exp(logs + brevity), 0.0)
