"""How alike the answers to different dialogues are: self_bleu (Zhu et al. 2018, Texygen), by sacrebleu."""

import random
from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.evaluation.word_tokens import is_cjk

OTHERS = 20  # that each answer is compared with, drawn once


class SelfBleuMetric(metric.Metric):
    """Mean BLEU of an answer against answers to other dialogues."""

    SORT_ORDER = 140
    LABEL = "self-BLEU"
    DESCRIPTION = (
        f"Mean BLEU-4 of each answer against {OTHERS} answers to other dialogues: high where all sound the same."
    )
    BETTER = "lower"
    RANGE = (0.0, 100.0)
    VALUE_FORMAT = ".2f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """BLEU, one."""
        from sacrebleu.metrics.bleu import BLEU

        del items
        texts = [each.outputs[0].text for each in found]
        scorer = BLEU(tokenize="zh" if is_cjk(texts) else "13a", effective_order=True)
        pairs = []
        for number, text in enumerate(texts):
            rng = random.Random(number)
            others = rng.sample(range(len(texts) - 1), min(OTHERS, len(texts) - 1))
            against = [texts[other + (other >= number)] for other in others]
            pairs.append((scorer.sentence_score(text, against).score if against and text.strip() else 0.0, 1.0))
        return statistics_array(pairs)
