"""Compares a new version with the one that serves.

The held-out answers of all proofs make one set: each is scored by a model that has not seen it. The golden set and the
replies of the first version, which measure forgetting, are scored by the new version itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from turnwise.app.evaluation_cache import open_response_cache
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.messages import Conversation
from turnwise.evaluation.evaluate import Evaluation
from turnwise.evaluation.flip_confirmation import NUM_ANSWERS, SampledGoldenMetric, confirm_flips
from turnwise.evaluation.flips import find_flips
from turnwise.evaluation.metric import Metric
from turnwise.evaluation.metric_runner import MetricResult, run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.metrics.bits_per_byte import BitsPerByteMetric
from turnwise.evaluation.samples import Sample
from turnwise.evaluation.scorecard import build_scorecard
from turnwise.improve.conversation_groups import conversation_groups, group_by_conversation
from turnwise.improve.training_examples import TrainingExample

REFERENCE_METRICS = ["bits_per_byte", "chrf", "length_ratio", "repetition"]  # of answers that people wrote or liked
FEEDBACK_METRICS = ["preference"]  # of all answers with feedback
FORGETTING_METRICS = ["golden"]
SEEDS = (0,)  # of sampled answers
MAX_TOKENS = 128  # of a generated answer

OnProgress = Callable[[str, int, int], None]
"""Receives what is measured, the number of finished queries and their total."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out answers and the model that has not seen them.

    Attributes:
        model: its folder.
        examples: the answers.
    """

    model: Path
    examples: Sequence[TrainingExample]


class RetentionMetric(BitsPerByteMetric):
    """Bits per byte of the first version's own replies."""

    NAME = "retention"
    LABEL = "first version's replies"
    DESCRIPTION = (
        "Cross-entropy in bits per byte of replies of the first version, which no version is trained on, compared with "
        "the first version itself. It grows as a version departs from it."
    )
    SORT_ORDER = 41

    def samples(self, dialogues: Sequence[Conversation], seed: int) -> list[Sample]:
        """As the base class; a repeated dialogue counts as often as it is repeated."""
        samples = super().samples(dialogues, seed)
        return [replace(sample, group=f"{number} {sample.group}") for number, sample in enumerate(samples)]


def measure_feedback(
    held_out: Sequence[HeldOut], serving: Path, *, seed: int = 0, on_progress: OnProgress = lambda *_: None
) -> "Measurement":
    """Measure held-out answers with feedback. Nothing of them is kept in the shared cache of evaluations."""
    groups = conversation_groups([example for subset in held_out for example in subset.examples])
    samples = [_feedback_samples(subset.examples, seed, groups) for subset in held_out]
    measurements = [
        _measure(subset.model, serving, of_subset, is_persistent=False, report=on_progress)
        for subset, of_subset in zip(held_out, samples, strict=True)
        if subset.examples
    ]
    return Measurement(_merge([m.model for m in measurements]), _merge([m.base for m in measurements]))


def measure_forgetting(
    model: Path,
    serving: Path,
    first: Path,
    retention: Sequence[Conversation],
    *,
    on_progress: OnProgress = lambda *_: None,
) -> "Measurement":
    """Measure the golden set, and the likelihood of dialogues that must not fall.

    The golden set is compared with the serving version: cases that only it passes are answered again several times by
    both. The likelihood is compared with the first version, so that small losses do not add up over many promotions.
    """
    golden = dict.fromkeys(load_metrics(FORGETTING_METRICS), ())
    measured = _measure(model, serving, _samples(golden), is_persistent=True, report=on_progress)
    likelihood = _measure(
        model, first, _samples({RetentionMetric(): retention}), is_persistent=True, report=on_progress
    )
    measured = Measurement({**measured.model, **likelihood.model}, {**measured.base, **likelihood.base})
    sampled_golden = SampledGoldenMetric(find_flips(measured.model, measured.base))
    if not (samples := sampled_golden.samples((), 0)):
        return measured
    sampled = _measure(
        model, serving, {sampled_golden: samples}, is_persistent=True, report=on_progress, seeds=range(NUM_ANSWERS)
    )
    return replace(measured, sampled=(sampled.model[sampled_golden.NAME], sampled.base[sampled_golden.NAME]))


@dataclass(frozen=True, slots=True)
class Measurement:
    """Results by metric of the new version and of the one that serves.

    Attributes:
        model: results of the new version.
        base: results of the serving version.
        sampled: sampled answers of both to golden cases that changed (`evaluation/flip_confirmation.py`).
    """

    model: Mapping[str, MetricResult]
    base: Mapping[str, MetricResult]
    sampled: tuple[MetricResult | None, MetricResult | None] = (None, None)

    def evaluation(self, *further: "Measurement", metadata: Mapping[str, Any]) -> Evaluation:
        """The evaluation of this and further measurements together, for a scorecard and a report."""
        model = {name: result for m in (self, *further) for name, result in m.model.items()}
        base = {name: result for m in (self, *further) for name, result in m.base.items()}
        ordered = dict(sorted(model.items(), key=lambda entry: entry[1].metric.SORT_ORDER))
        model_answers, base_answers = next((m.sampled for m in (self, *further) if m.sampled[0]), (None, None))
        confirm = partial(confirm_flips, model=model_answers, base=base_answers)
        return Evaluation(build_scorecard(ordered, base, metadata, confirm=confirm), ordered, base, (), {})


SamplesByMetric = Mapping[Metric, Sequence[Sample]]


def _feedback_samples(examples: Sequence[TrainingExample], seed: int, groups: dict[str, str]) -> SamplesByMetric:
    dialogues = [example.dialogue for example in examples]
    references = [dialogue for dialogue in dialogues if dialogue.rating is not False]  # a bad answer is no reference
    metrics: dict[Metric, Sequence[Conversation]] = dict.fromkeys(load_metrics(REFERENCE_METRICS), references)
    metrics |= dict.fromkeys(load_metrics(FEEDBACK_METRICS), dialogues)
    return {metric: group_by_conversation(samples, groups) for metric, samples in _samples(metrics, seed).items()}


def _samples(dialogues_by_metric: Mapping[Metric, Sequence[Conversation]], seed: int = 0) -> SamplesByMetric:
    samples = {metric: metric.samples(dialogues, seed) for metric, dialogues in dialogues_by_metric.items()}
    return {metric: of_metric for metric, of_metric in samples.items() if of_metric}


def _measure(
    model: Path,
    serving: Path,
    samples: SamplesByMetric,
    *,
    is_persistent: bool,
    report: OnProgress,
    seeds: Sequence[int] = SEEDS,
) -> Measurement:
    metrics = list(samples)
    by_name = {metric.NAME: of_metric for metric, of_metric in samples.items()}
    results = []
    with open_response_cache(is_persistent=is_persistent) as cache:
        for name, folder in (("new version", model), ("serving version", serving)):
            with open_model_under_test(str(folder), cache, sampling={"max_tokens": MAX_TOKENS}) as system:
                progress = partial(_report, report, name)
                results.append(run_metrics(system, metrics, by_name, seeds=seeds, on_progress=progress))
    return Measurement(results[0], results[1])


def _report(report: OnProgress, system: str, kind: str, done: int, total: int) -> None:
    report(f"{kind} of the {system}", done, total)


def _merge(subsets: Sequence[Mapping[str, MetricResult]]) -> dict[str, MetricResult]:
    """Results of different samples as one result for each metric."""
    merged: dict[str, MetricResult] = {}
    for results in subsets:
        for name, result in results.items():
            merged[name] = result if name not in merged else _join(merged[name], result)
    return merged


def _join(first: MetricResult, second: MetricResult) -> MetricResult:
    """Answers of one conversation may be in both: their sums are added, so that it stays one group."""
    groups = tuple(dict.fromkeys((*first.groups, *second.groups)))
    index_of = {group: index for index, group in enumerate(groups)}
    num_seeds, _, num_sums = first.sums_SGK.shape
    sums_SGK = np.zeros((num_seeds, len(groups), num_sums))
    for result in (first, second):
        sums_SGK[:, [index_of[group] for group in result.groups]] += result.sums_SGK
    return replace(
        first,
        samples=(*first.samples, *second.samples),
        results_by_seed=[(*a, *b) for a, b in zip(first.results_by_seed, second.results_by_seed, strict=True)],
        groups=groups,
        sums_SGK=sums_SGK,
    )
