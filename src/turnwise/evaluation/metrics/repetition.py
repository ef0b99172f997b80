"""Repeated 4-grams within a reply and against earlier replies."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.text.word_tokens import count_ngrams, split_words

ORDER = 4  # words per n-gram


class RepetitionMetric(Metric):
    """Repeated 4-grams divided by all 4-grams."""

    SORT_ORDER = 50
    LABEL = "repeated 4-grams"
    DESCRIPTION = (
        "Share of a reply's four-word sequences that occur earlier in it or in an earlier reply of the dialogue."
    )
    BETTER = "lower"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    ONE_SIDED = True
    VALUE_FORMAT = ".2%"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """Repeated and all 4-grams of each reply."""
        rows = []
        for sample, result in zip(samples, results, strict=True):
            earlier = {
                ngram
                for message in sample.generation_queries[0].history
                if message.role == "assistant"
                for ngram in count_ngrams(split_words(message.content), ORDER)
            }
            counts = count_ngrams(split_words(result.outputs[0].text), ORDER)
            repeated = sum(count if ngram in earlier else count - 1 for ngram, count in counts.items())
            rows.append((float(repeated), float(counts.total())))
        return statistics_array(rows)
