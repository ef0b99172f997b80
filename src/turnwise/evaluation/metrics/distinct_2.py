"""Distinct-2 (Li et al. 2016): the variety of the generated replies."""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.text.word_tokens import count_ngrams, split_words


class Distinct2Metric(Metric):
    """Distinct word pairs divided by all word pairs.

    Each occurrence of an n-gram counts 1 / (its occurrences in all replies). These weights add up to the number of
    distinct n-grams, so every dialogue has its share, and a dialogue drawn twice in resampling does not reduce variety.
    """

    ORDER: ClassVar[int] = 2  # words per n-gram
    SORT_ORDER = 135
    LABEL = "distinct-2"
    DESCRIPTION = (
        "Distinct word pairs divided by all word pairs, over all replies of a seed. Short replies score higher."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """Share of the distinct n-grams, and number of n-grams, of each reply."""
        del samples
        counts = [count_ngrams(split_words(result.outputs[0].text), self.ORDER) for result in results]
        totals: Counter[tuple[str, ...]] = Counter()
        for reply_counts in counts:  # sum() would copy the counter for every reply
            totals.update(reply_counts)
        return statistics_array(
            [(sum(count / totals[ngram] for ngram, count in reply.items()), float(reply.total())) for reply in counts]
        )
