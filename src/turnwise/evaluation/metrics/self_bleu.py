"""Self-BLEU (Zhu et al. 2018): similarity of replies to different dialogues, computed with sacrebleu."""

import random
from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.text.word_tokens import is_cjk

NUM_OTHERS = 20  # replies that each reply is compared with


class SelfBleuMetric(Metric):
    """Mean BLEU of a reply against replies to other dialogues."""

    SORT_ORDER = 140
    LABEL = "self-BLEU"
    DESCRIPTION = (
        f"Mean BLEU-4 of each reply against {NUM_OTHERS} replies to other dialogues. High values mean uniform replies."
    )
    BETTER = "lower"
    RANGE = (0.0, 100.0)
    VALUE_FORMAT = ".2f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """BLEU of each reply, and 1."""
        from sacrebleu.metrics.bleu import BLEU

        del samples
        texts = [result.outputs[0].text for result in results]
        scorer = BLEU(tokenize="zh" if is_cjk(texts) else "13a", effective_order=True)
        rows = []
        for number, text in enumerate(texts):
            rng = random.Random(number)
            others = rng.sample(range(len(texts) - 1), min(NUM_OTHERS, len(texts) - 1))
            other_texts = [texts[index + (index >= number)] for index in others]
            rows.append((scorer.sentence_score(text, other_texts).score if other_texts and text.strip() else 0.0, 1.0))
        return statistics_array(rows)
