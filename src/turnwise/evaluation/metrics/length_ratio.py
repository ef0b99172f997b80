"""Length of the generated replies relative to the references."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Sample, SampleResult
from turnwise.text.word_tokens import split_words


class LengthRatioMetric(Metric):
    """Words of all replies divided by words of all references."""

    SORT_ORDER = 150
    LABEL = "length ratio"
    DESCRIPTION = (
        "Words of the generated replies divided by words of the reference replies. Neither direction is better."
    )
    VALUE_FORMAT = ".2f"

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: its last reply."""
        del seed
        return last_reply_samples(dialogues)

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """Words of the reply and of the reference."""
        return statistics_array(
            [
                (float(len(split_words(result.outputs[0].text))), float(len(split_words(sample.reference))))
                for sample, result in zip(samples, results, strict=True)
            ]
        )
