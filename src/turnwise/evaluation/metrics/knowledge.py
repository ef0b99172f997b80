"""Does a model use what it was given to know? knowledge, R@1 of four on passages of our own.

A passage stands in the system message, and four replies to a question about it differ in one value. The values of a
passage take turns: each is right once. So whoever does not read the passage is right exactly one time in four.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation import metric
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.probes import read_probes
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer

PLACES = "abcd"  # for the values in a passage; the first is what is asked for


class KnowledgeMetric(metric.Metric):
    """Right replies by questions."""

    SORT_ORDER = 80
    LABEL = "knowledge use, R@1/4"
    DESCRIPTION = (
        "How often the reply that follows the passage in the system message has the highest mean log-probability per "
        "token of four that differ in one value, on written probes; a guess is 25 %. Ties count as wrong."
    )
    BETTER = "higher"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    IS_PROBE = True
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The same for all data: each passage with each of its values."""
        del dialogues, seed
        return [item for number, passage in enumerate(_passages()) for item in _items(f"passage {number}", passage)]

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Right, asked."""
        del items
        ranked = [[each.nll / max(1, each.num_tokens) for each in one.loglikelihoods] for one in found]
        return statistics_array([(float(losses[0] < min(losses[1:])), 1.0) for losses in ranked])


@dataclass(frozen=True, slots=True)
class _Passage:
    passage: str
    question: str
    reply: str
    values: list[str]


@cache
def _passages() -> list[_Passage]:
    return [_Passage(**passage) for passage in read_probes("knowledge")]


def _items(group: str, passage: _Passage) -> list[Sample]:
    found = []
    for first in range(len(PLACES)):
        values = passage.values[first:] + passage.values[:first]
        told = passage.passage.format(**dict(zip(PLACES, values, strict=True)))
        history = (Message("system", told), Message("user", passage.question))
        replies = [passage.reply.format(value=value) for value in values]
        scores = tuple(LoglikelihoodQuery((*history, Message("assistant", reply))) for reply in replies)
        found.append(Sample(group, loglikelihood_queries=scores, reference=replies[0]))
    return found
