"""How much of an answer says again what it, or an earlier one, said: repetition."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.evaluation.word_tokens import count_ngrams, split_words

ORDER = 4


class RepetitionMetric(metric.Metric):
    """Repeated 4-grams by all."""

    SORT_ORDER = 50
    LABEL = "repeated 4-grams"
    DESCRIPTION = (
        "The share of an answer's runs of four words that it, or an earlier answer of the dialogue, has said before."
    )
    BETTER = "lower"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    ONE_SIDED = True
    VALUE_FORMAT = ".2%"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Repeated, all."""
        pairs = []
        for item, each in zip(items, found, strict=True):
            said = {
                gram
                for message in item.generation_queries[0].history
                if message.role == "assistant"
                for gram in count_ngrams(split_words(message.content), ORDER)
            }
            own = count_ngrams(split_words(each.outputs[0].text), ORDER)
            again = sum(count if gram in said else count - 1 for gram, count in own.items())
            pairs.append((float(again), float(own.total())))
        return statistics_array(pairs)
