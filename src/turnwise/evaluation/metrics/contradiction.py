"""Contradictions of facts from earlier in the dialogue, on bundled probes.

A short dialogue states a fact: the user, the assistant or the system message says it. Then a reply that agrees with the
fact and one that contradicts it are scored (as in dialogue NLI, Welleck et al. 2019). Every fact is stated with either
of two values, and every question is asked after both. So a model that ignores the dialogue is right in exactly half of
the cases, whatever it prefers: "yes", short replies or one of the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.metric import FloatArray, Metric, statistics_array
from turnwise.evaluation.probes import ProbeDialogue, fill_dialogue, read_probes
from turnwise.evaluation.samples import LoglikelihoodQuery, Sample, SampleResult
from turnwise.evaluation.system_under_test import LoglikelihoodScorer

YES, NO = "Yes, that is right.", "No, that is wrong."


class ContradictionMetric(Metric):
    """Share of questions on which the contradicting reply is at least as likely."""

    SORT_ORDER = 60
    LABEL = "contradictions"
    DESCRIPTION = (
        "Share of probes on which a reply that contradicts the dialogue has a mean log-probability per token at least "
        "as high as one that agrees with it. Chance level: 50 %. After dialogue NLI (Welleck et al. 2019)."
    )
    BETTER = "lower"
    RANGE = (0.0, 1.0)
    COUNTS_FOR_VERDICT = True
    VALUE_FORMAT = ".1%"
    IS_BINARY = True
    IS_PROBE = True
    REQUIRES = (LoglikelihoodScorer,)

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """For each value of a fact: a question with the answer yes, one with no, and an open one."""
        del dialogues, seed
        return [sample for number, fact in enumerate(_facts()) for sample in _samples(f"fact {number}", fact)]

    def statistics(self, samples: Sequence[Sample], results: Sequence[SampleResult]) -> FloatArray:
        """1 if the contradicting reply is at least as likely, and 1."""
        del samples
        rows = []
        for result in results:
            consistent, contradicting = (score.nll / max(1, score.num_tokens) for score in result.loglikelihoods)
            rows.append((float(not consistent < contradicting), 1.0))
        return statistics_array(rows)


@dataclass(frozen=True, slots=True)
class _Fact:
    kind: str
    values: list[str]
    dialogue: ProbeDialogue
    closed: str
    open: str
    reply: str


@cache
def _facts() -> list[_Fact]:
    return [_Fact(**fact) for fact in read_probes("contradiction")]


def _samples(group: str, fact: _Fact) -> list[Sample]:
    samples = []
    for value, alternative in (fact.values, fact.values[::-1]):
        consistent, contradicting = (fact.reply.format(value=text) for text in (value, alternative))
        for question, right, wrong in (
            (fact.closed.format(value=value), YES, NO),
            (fact.closed.format(value=alternative), NO, YES),
            (fact.open, consistent, contradicting),
        ):
            history = (*fill_dialogue(fact.dialogue, value=value, other=alternative), Message("user", question))
            queries = tuple(LoglikelihoodQuery((*history, Message("assistant", reply))) for reply in (right, wrong))
            samples.append(Sample(group, loglikelihood_queries=queries, reference=right, metadata={"kind": fact.kind}))
    return samples
