"""Margin between answers that people preferred and answers that they rejected, in bits per byte."""

import math
from collections.abc import Sequence

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.last_replies import dialogue_id
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.samples import Loglikelihood, LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer


class PreferenceMetric(Metric):
    """Likelihood of good answers minus that of bad ones: of both answers of a pair, or of a rated answer with its sign.

    The mean over all answers with feedback. Only differences between two models have a meaning, because the value
    depends on the shares of good and bad ratings.
    """

    SORT_ORDER = 45
    LABEL = "preference margin"
    DESCRIPTION = (
        "Log-likelihood per byte of answers that people preferred or rated as good, minus that of rejected or badly "
        "rated ones, in bits; the mean over answers. Compare it between models only."
    )
    BETTER = "higher"
    RANGE = (-math.inf, math.inf)
    VALUE_FORMAT = ".4f"
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per dialogue with a rejected answer or a rating: the preferred and the rejected last answer."""
        del seed
        samples = []
        for dialogue in dialogues:
            is_bad = dialogue.rating is False
            good = () if is_bad else dialogue.messages
            bad = dialogue.messages if is_bad else dialogue.rejected
            queries = tuple(
                LoglikelihoodQuery(messages, dialogue.tools) if _ends_with_answer(messages) else None
                for messages in (good, bad)
            )
            if (dialogue.rejected and all(queries)) or (dialogue.rating is not None and any(queries)):
                samples.append(
                    Sample(
                        dialogue_id(dialogue.messages),
                        loglikelihood_queries=tuple(query for query in queries if query is not None),
                        metadata={"signs": [sign for sign, query in zip((1, -1), queries, strict=True) if query]},
                    )
                )
        return samples

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """The margin of each dialogue in bits per byte, and 1."""
        return statistics_array(
            [
                (
                    sum(
                        sign * _bits_per_byte(score)
                        for sign, score in zip(sample.metadata["signs"], result.loglikelihoods, strict=True)
                    ),
                    1,
                )
                for sample, result in zip(samples, results, strict=True)
            ]
        )


def _ends_with_answer(messages: Sequence[Message]) -> bool:
    return len(messages) > 1 and messages[-1].role == "assistant" and bool(messages[-1].full_text)


def _bits_per_byte(score: Loglikelihood) -> float:
    """Log-likelihood per byte; negative."""
    return -score.nll / max(1, score.num_bytes) / math.log(2)
