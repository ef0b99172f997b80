"""BLEU (Papineni et al. 2002), computed with sacrebleu."""

from collections.abc import Sequence

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.text.word_tokens import is_cjk

MAX_ORDER = 4  # longest n-gram


class BleuMetric(Metric):
    """Corpus BLEU of the generated replies."""

    SORT_ORDER = 110
    LABEL = "BLEU"
    DESCRIPTION = (
        "Corpus BLEU-4 against the reference reply (sacrebleu). A weak measure of dialogue quality, because a dialogue "
        "has many good answers; template answers score well."
    )
    BETTER = "higher"
    RANGE = (0.0, 100.0)
    VALUE_FORMAT = ".2f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """sacrebleu's statistics: lengths of reply and reference, then matching and total n-grams of every order."""
        from sacrebleu.metrics.bleu import BLEU

        references = [sample.reference for sample in samples]
        scorer = BLEU(tokenize="zh" if is_cjk(references) else "13a", force=True)
        return statistics_array(
            scorer._extract_corpus_statistics([result.outputs[0].text for result in results], [references]),
            2 + 2 * MAX_ORDER,
        )

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """BLEU between 0 and 100, smoothed as in sacrebleu ("exp"): an order without a match counts 1/2, 1/4, ..."""
        reply_length, reference_length = totals_XK[..., 0], totals_XK[..., 1]
        matches, totals = totals_XK[..., 2 : 2 + MAX_ORDER], totals_XK[..., 2 + MAX_ORDER :]
        num_unmatched = np.cumsum(matches == 0, axis=-1)
        smoothed = np.where(matches == 0, 0.5**num_unmatched, matches)
        logs = np.log(smoothed / np.maximum(1, totals)).mean(axis=-1)
        brevity = np.minimum(0, 1 - reference_length / np.maximum(1e-9, reply_length))
        is_defined = (totals > 0).all(axis=-1) & (matches > 0).any(axis=-1)
        return np.where(is_defined, 100 * np.exp(logs + brevity), 0.0)
