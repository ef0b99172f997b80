"""Cross-entropy of the reference replies in bits per byte."""

import math
from collections.abc import Sequence

from turnwise.core.messages import Conversation
from turnwise.evaluation.last_replies import dialogue_id
from turnwise.evaluation.metric import FloatArray, Metric, ratio, statistics_array
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer


class BitsPerByteMetric(Metric):
    """Cross-entropy per byte. The unit does not depend on the tokenizer."""

    SORT_ORDER = 40
    LABEL = "bits per byte"
    DESCRIPTION = (
        "Cross-entropy of all assistant messages in bits per byte of text. The only likelihood metric that compares "
        "models with different tokenizers."
    )
    BETTER = "lower"
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".4f"
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue: all assistant messages except an opening one and those with the loss weight 0."""
        del seed
        samples = []
        for dialogue in dialogues:
            messages = dialogue.messages
            replies = [
                index
                for index, message in enumerate(messages)
                if message.role == "assistant" and message.full_text and message.weight
            ]
            # An opening message answers nothing, so it is not scored.
            queries = tuple(LoglikelihoodQuery(messages[: index + 1], dialogue.tools) for index in replies if index)
            if queries:
                samples.append(Sample(dialogue_id(messages), loglikelihood_queries=queries))
        return samples

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """Negative log-likelihood, bytes and tokens of each dialogue."""
        del samples
        return statistics_array(
            [
                (
                    sum(score.nll for score in result.loglikelihoods),
                    sum(score.num_bytes for score in result.loglikelihoods),
                    sum(score.num_tokens for score in result.loglikelihoods),
                )
                for result in results
            ],
            3,
        )

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """Convert nats per byte to bits per byte."""
        return ratio(totals_XK[..., 0], totals_XK[..., 1]) / math.log(2)
