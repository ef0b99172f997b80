"""Does a model contradict what was said? contradiction, on questions of our own.

A fact is told in a short talk, by the user, by the assistant itself or in its instructions. Then a reply that fits it
and one that contradicts it are scored, as in Welleck et al. 2019, whose sentences are drawn from people's chats; ours
are written in pairs. Every fact is told with either of two values, and every question is asked after both. So whoever
does not look at the talk is right exactly half the time, whatever it likes: "yes", short replies or one of the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation import metric
from turnwise.evaluation.metric import FloatArray, statistics_array
from turnwise.evaluation.probes import ProbeDialogue, fill_dialogue, read_probes
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer

YES, NO = "Yes, that is right.", "No, that is wrong."


class ContradictionMetric(metric.Metric):
    """Contradictions by questions."""

    SORT_ORDER = 60
    LABEL = "contradictions"
    DESCRIPTION = (
        "How often a reply that contradicts what was said before has a mean log-probability per token as high as one "
        "that fits it, on written probes; a guess is 50 %. After dialogue NLI (Welleck et al. 2019)."
    )
    BETTER = "lower"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    IS_PROBE = True
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """The same for all data: with each value of a fact a question for yes, one for no and an open one."""
        del dialogues, seed
        return [item for number, fact in enumerate(_facts()) for item in _items(f"fact {number}", fact)]

    def statistics(self, items: Sequence[Sample], found: Sequence[SampleResult]) -> FloatArray:
        """Contradicted, asked."""
        del items
        pairs = []
        for each in found:
            fits, contradicts = (one.nll / max(1, one.num_tokens) for one in each.loglikelihoods)
            pairs.append((float(not fits < contradicts), 1.0))
        return statistics_array(pairs)


@dataclass(frozen=True, slots=True)
class _Fact:
    kind: str
    values: list[str]
    said: ProbeDialogue
    closed: str
    open: str
    reply: str


@cache
def _facts() -> list[_Fact]:
    return [_Fact(**fact) for fact in read_probes("contradiction")]


def _items(group: str, fact: _Fact) -> list[Sample]:
    found = []
    for value, other in (fact.values, fact.values[::-1]):
        fits, contradicts = (fact.reply.format(value=each) for each in (value, other))
        for question, right, wrong in (
            (fact.closed.format(value=value), YES, NO),
            (fact.closed.format(value=other), NO, YES),
            (fact.open, fits, contradicts),
        ):
            history = (*fill_dialogue(fact.said, value=value, other=other), Message("user", question))
            scores = tuple(LoglikelihoodQuery((*history, Message("assistant", reply))) for reply in (right, wrong))
            found.append(Sample(group, loglikelihood_queries=scores, reference=right, metadata={"kind": fact.kind}))
    return found
