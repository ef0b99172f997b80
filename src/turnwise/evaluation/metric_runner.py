"""Asks a subject everything that some metrics want to know, once each, and sums up what came back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.core.messages import Conversation
from turnwise.evaluation.metric import FloatArray, Metric
from turnwise.evaluation.samples import (
    GenerationOutput,
    GenerationQuery,
    Loglikelihood,
    LoglikelihoodQuery,
    Sample,
    SampleResult,
)
from turnwise.evaluation.system_under_test import SystemUnderTest

OnProgress = Callable[[str, int, int], None]
"""Called with what is done ("answers" or "scores"), how many of them, and of how many."""


@dataclass(frozen=True)
class MetricResult:
    """What one metric found out about one subject.

    Attributes:
        metric: which.
        items: what it looked at.
        found: what came back, by seed; `(S)` of as many as items.
        groups: the dialogues it looked at, `(G)`.
        sums_SGK: its statistics, by seed and dialogue.
    """

    metric: Metric
    items: Sequence[Sample]
    found: Sequence[Sequence[SampleResult]]
    groups: Sequence[str]
    sums_SGK: FloatArray

    @property
    def sums_GK(self) -> FloatArray:
        """Over all seeds."""
        summed: FloatArray = self.sums_SGK.sum(axis=0)
        return summed


def plan_samples(
    metrics: Sequence[Metric], dialogues: Sequence[Conversation], seed: int
) -> dict[str, Sequence[Sample]]:
    """What each metric looks at, by its name; metrics for which the data has nothing are left out."""
    found = {metric.NAME: metric.samples(dialogues, seed) for metric in metrics}
    return {name: items for name, items in found.items() if items}


def run_metrics(
    subject: SystemUnderTest,
    metrics: Sequence[Metric],
    items: Mapping[str, Sequence[Sample]],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    on_progress: OnProgress = lambda *_: None,
) -> dict[str, MetricResult]:
    """Measure a subject, by metric.

    Args:
        subject: who is asked.
        metrics: those of them that need likelihoods are left out where it has none.
        items: from `plan`; the same for all that are to be compared.
        seeds: every history is answered with each; greedy answers are what they are.
        on_progress: told how far it is.
    """
    chosen = [
        metric for metric in metrics if metric.NAME in items and (subject.scores or not metric.NEEDS_LOGLIKELIHOODS)
    ]
    wanted = [item for metric in chosen for item in items[metric.NAME]]
    answers = _answers(subject, wanted, seeds, on_progress)
    scored = _scores(subject, wanted, on_progress)
    measured = {}
    for metric in chosen:
        own = items[metric.NAME]
        varied = any(not ask.greedy for item in own for ask in item.generation_queries)
        found = [
            [
                SampleResult(
                    tuple(answers[ask, 0 if ask.greedy else seed] for ask in item.generation_queries),
                    tuple(scored[score] for score in item.loglikelihood_queries),
                )
                for item in own
            ]
            for seed in (seeds if varied else seeds[:1])
        ]
        groups = list(dict.fromkeys(item.group for item in own))
        sums_SGK = np.stack([_by_group(metric.statistics(own, each), own, groups) for each in found])
        measured[metric.NAME] = MetricResult(metric, own, found, groups, sums_SGK)
    return measured


def reply_result(measured: Mapping[str, MetricResult]) -> MetricResult | None:
    """Of a metric that compares answers, drawn as they are served, with what was said; the one with most of them."""
    found = [each for each in measured.values() if are_reply_samples(each.items)]
    return max(found, key=lambda each: len(each.items), default=None)


def are_reply_samples(items: Sequence[Sample]) -> bool:
    """Whether each of them is one answer, drawn as it is served, beside what was said."""
    return bool(items) and all(
        len(item.generation_queries) == 1 and not item.generation_queries[0].greedy and bool(item.reference)
        for item in items
    )


def _answers(
    subject: SystemUnderTest, items: Sequence[Sample], seeds: Sequence[int], on_progress: OnProgress
) -> dict[tuple[GenerationQuery, int], GenerationOutput]:
    asked = [
        (ask, seed)
        for ask in dict.fromkeys(ask for item in items for ask in item.generation_queries)
        for seed in ((0,) if ask.greedy else seeds)
    ]
    return dict(zip(asked, subject.answer(asked, _counting("answers", len(asked), on_progress)), strict=True))


def _scores(
    subject: SystemUnderTest, items: Sequence[Sample], on_progress: OnProgress
) -> dict[LoglikelihoodQuery, Loglikelihood]:
    wanted = list(dict.fromkeys(score for item in items for score in item.loglikelihood_queries))
    if not wanted:
        return {}
    return dict(zip(wanted, subject.score(wanted, _counting("scores", len(wanted), on_progress)), strict=True))


def _counting(what: str, total: int, on_progress: OnProgress) -> Callable[[int], None]:
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        on_progress(what, done, total)

    on_progress(what, 0, total)
    return more


def _by_group(statistics_IK: FloatArray, items: Sequence[Sample], groups: Sequence[str]) -> FloatArray:
    """Items of one dialogue added up."""
    place = {group: number for number, group in enumerate(groups)}
    sums_GK = np.zeros((len(groups), statistics_IK.shape[1]))
    np.add.at(sums_GK, [place[item.group] for item in items], statistics_IK)
    return sums_GK
