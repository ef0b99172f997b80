"""Runs metrics on a system: collects all queries, asks each of them once, and sums the statistics per dialogue."""

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
from turnwise.evaluation.system_under_test import (
    LoglikelihoodScorer,
    SystemUnderTest,
    TextGenerator,
    missing_capabilities,
)

OnQueryProgress = Callable[[str, int, int], None]
"""Receives the kind of query ("answers" or "log-likelihoods"), the number of finished queries and their total."""


@dataclass(frozen=True)
class MetricResult:
    """The results of one metric for one system.

    Attributes:
        metric: the metric.
        samples: its samples.
        results_by_seed: the results of all samples, once per seed.
        groups: the ids of the dialogues that the samples belong to, `(G)`.
        sums_SGK: statistics summed per seed and dialogue.
    """

    metric: Metric
    samples: Sequence[Sample]
    results_by_seed: Sequence[Sequence[SampleResult]]
    groups: Sequence[str]
    sums_SGK: FloatArray

    @property
    def sums_GK(self) -> FloatArray:
        """Statistics summed over seeds."""
        sums_GK: FloatArray = self.sums_SGK.sum(axis=0)
        return sums_GK


def plan_samples(
    metrics: Sequence[Metric], dialogues: Sequence[Conversation], seed: int
) -> dict[str, Sequence[Sample]]:
    """Return the samples of each metric by its name, without metrics that have no samples in these dialogues."""
    samples_by_metric = {metric.NAME: metric.samples(dialogues, seed) for metric in metrics}
    return {name: samples for name, samples in samples_by_metric.items() if samples}


def not_applicable(metrics: Sequence[Metric], system: SystemUnderTest) -> dict[str, str]:
    """Return the names of metrics that cannot be computed for a system, with the capabilities that it lacks."""
    missing = {metric.NAME: missing_capabilities(system, metric.REQUIRES) for metric in metrics}
    return {name: ", ".join(labels) for name, labels in missing.items() if labels}


def run_metrics(
    system: SystemUnderTest,
    metrics: Sequence[Metric],
    samples_by_metric: Mapping[str, Sequence[Sample]],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    on_progress: OnQueryProgress = lambda *_: None,
) -> dict[str, MetricResult]:
    """Compute the applicable metrics for a system, by name.

    Args:
        system: the system.
        metrics: the metrics; those without samples, and those that are not applicable to the system, are skipped.
        samples_by_metric: from `plan_samples`; compared systems get the same samples.
        seeds: each history is answered once per seed, and once in all if the query is greedy.
        on_progress: receives the progress.
    """
    skipped = not_applicable(metrics, system)
    applicable = [metric for metric in metrics if metric.NAME in samples_by_metric and metric.NAME not in skipped]
    all_samples = [sample for metric in applicable for sample in samples_by_metric[metric.NAME]]
    outputs = _generate(system, all_samples, seeds, on_progress)
    loglikelihoods = _loglikelihoods(system, all_samples, on_progress)
    metric_results = {}
    for metric in applicable:
        samples = samples_by_metric[metric.NAME]
        is_sampled = any(not query.greedy for sample in samples for query in sample.generation_queries)
        results_by_seed = [
            [
                SampleResult(
                    tuple(outputs[query, 0 if query.greedy else seed] for query in sample.generation_queries),
                    tuple(loglikelihoods[query] for query in sample.loglikelihood_queries),
                )
                for sample in samples
            ]
            for seed in (seeds if is_sampled else seeds[:1])
        ]
        groups = list(dict.fromkeys(sample.group for sample in samples))
        sums_SGK = np.stack(
            [
                _sum_by_group(metric.statistics(samples, seed_results), samples, groups)
                for seed_results in results_by_seed
            ]
        )
        metric_results[metric.NAME] = MetricResult(metric, samples, results_by_seed, groups, sums_SGK)
    return metric_results


def reply_result(results: Mapping[str, MetricResult]) -> MetricResult | None:
    """Return the result of the metric with the most reply samples (see `are_reply_samples`), or None."""
    candidates = [result for result in results.values() if are_reply_samples(result.samples)]
    return max(candidates, key=lambda result: len(result.samples), default=None)


def are_reply_samples(samples: Sequence[Sample]) -> bool:
    """Return whether each sample is one answer, sampled as it is served, with a reference."""
    return bool(samples) and all(
        len(sample.generation_queries) == 1 and not sample.generation_queries[0].greedy and bool(sample.reference)
        for sample in samples
    )


def _generate(
    system: SystemUnderTest, samples: Sequence[Sample], seeds: Sequence[int], on_progress: OnQueryProgress
) -> dict[tuple[GenerationQuery, int], GenerationOutput]:
    queries = [
        (query, seed)
        for query in dict.fromkeys(query for sample in samples for query in sample.generation_queries)
        for seed in ((0,) if query.greedy else seeds)
    ]
    if not queries:
        return {}
    assert isinstance(system, TextGenerator), "a metric with generation queries requires a TextGenerator"
    outputs = system.generate(queries, _query_counter("answers", len(queries), on_progress))
    return dict(zip(queries, outputs, strict=True))


def _loglikelihoods(
    system: SystemUnderTest, samples: Sequence[Sample], on_progress: OnQueryProgress
) -> dict[LoglikelihoodQuery, Loglikelihood]:
    queries = list(dict.fromkeys(query for sample in samples for query in sample.loglikelihood_queries))
    if not queries:
        return {}
    assert isinstance(system, LoglikelihoodScorer), "a metric with such queries requires a LoglikelihoodScorer"
    loglikelihoods = system.loglikelihood(queries, _query_counter("log-likelihoods", len(queries), on_progress))
    return dict(zip(queries, loglikelihoods, strict=True))


def _query_counter(kind: str, total: int, on_progress: OnQueryProgress) -> Callable[[int], None]:
    num_done = 0

    def on_done(count: int) -> None:
        nonlocal num_done
        num_done += count
        on_progress(kind, num_done, total)

    on_progress(kind, 0, total)
    return on_done


def _sum_by_group(statistics_IK: FloatArray, samples: Sequence[Sample], groups: Sequence[str]) -> FloatArray:
    """Sum the statistics of the samples of each dialogue."""
    index_of = {group: index for index, group in enumerate(groups)}
    sums_GK = np.zeros((len(groups), statistics_IK.shape[1]))
    np.add.at(sums_GK, [index_of[sample.group] for sample in samples], statistics_IK)
    return sums_GK
