"""How long answers are, by what a person said: length_ratio."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation import metric
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.evaluation.word_tokens import split_words


class LengthRatioMetric(metric.Metric):
    """Words of all answers by words of all references."""

    SORT_ORDER = 150
    LABEL = "length ratio"
    DESCRIPTION = "Words of the answers by words of what was said there; neither way is better by itself."
    VALUE_FORMAT = ".2f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The last replies."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Words of the answer, words of the reference."""
        return statistics_array(
            [
                (float(len(split_words(each.outputs[0].text))), float(len(split_words(item.reference))))
                for item, each in zip(items, found, strict=True)
            ]
        )
