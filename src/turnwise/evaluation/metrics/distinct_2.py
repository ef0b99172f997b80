"""How many of the word n-grams of all answers are different ones: distinct_1, distinct_2 (Li et al. 2016)."""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.evaluation.word_tokens import count_ngrams, split_words


class Distinct2Metric(metric.Metric):
    """Different pairs of words by all of them.

    Each occurrence counts as one by how often its n-gram occurs in all answers, which adds up to the number of
    different ones. So a dialogue has a share, and resampling does not take its own repeats for a loss of variety.
    """

    WORDS: ClassVar[int] = 2
    SORT_ORDER = 135
    LABEL = "distinct-2"
    DESCRIPTION = "Different pairs of words by all pairs, over all answers of a seed; shorter answers have more."
    BETTER = "higher"
    RANGE = (0.0, 1.0)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Each answer's part of the different n-grams, and its n-grams."""
        del items
        counted = [count_ngrams(split_words(each.outputs[0].text), self.WORDS) for each in found]
        all_of_them: Counter[tuple[str, ...]] = Counter()
        for own in counted:  # a sum would copy all of them each time
            all_of_them.update(own)
        return statistics_array(
            [(sum(n / all_of_them[gram] for gram, n in own.items()), float(own.total())) for own in counted]
        )
