"""Use of a knowledge passage: R@1 of four replies, on bundled probes.

The system message contains a passage. Four replies to a question about it differ in one value, and each value of a
passage is the right one once. So a model that ignores the passage is right in exactly one of four cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.probes import read_probes
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer

SLOTS = "abcd"  # placeholders of the values in a passage; the question asks for the first


class KnowledgeMetric(Metric):
    """Share of questions on which the right reply is the most likely."""

    SORT_ORDER = 80
    LABEL = "knowledge use, R@1/4"
    DESCRIPTION = (
        "Share of probes on which the reply that agrees with a passage in the system message has the highest mean "
        "log-probability per token of four replies that differ in one value. Chance level: 25 %. Ties count as wrong."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    IS_PROBE = True
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """One sample per passage and value."""
        del dialogues, seed
        return [
            sample for number, passage in enumerate(_passages()) for sample in _samples(f"passage {number}", passage)
        ]

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """1 if the right reply, the first, is the most likely, and 1."""
        del samples
        losses_by_sample = [
            [score.nll / max(1, score.num_tokens) for score in result.loglikelihoods] for result in results
        ]
        return statistics_array([(float(losses[0] < min(losses[1:])), 1.0) for losses in losses_by_sample])


@dataclass(frozen=True, slots=True)
class _Passage:
    passage: str
    question: str
    reply: str
    values: list[str]


@cache
def _passages() -> list[_Passage]:
    return [_Passage(**passage) for passage in read_probes("knowledge")]


def _samples(group: str, passage: _Passage) -> list[Sample]:
    samples = []
    for first in range(len(SLOTS)):
        values = passage.values[first:] + passage.values[:first]
        text = passage.passage.format(**dict(zip(SLOTS, values, strict=True)))
        history = (Message("system", text), Message("user", passage.question))
        replies = [passage.reply.format(value=value) for value in values]
        queries = tuple(LoglikelihoodQuery((*history, Message("assistant", reply))) for reply in replies)
        samples.append(Sample(group, loglikelihood_queries=queries, reference=replies[0]))
    return samples
