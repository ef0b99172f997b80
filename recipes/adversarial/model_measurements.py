"""Measures one model: replies to all contexts at several temperatures, and the likelihood of human replies.

Every request goes through the cache of responses, so an interrupted run continues where it was.

Shapes: G test contexts, K sums of a metric.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reply_gates import GateMetric

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.data.sources import read_source
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import FloatArray, Metric
from turnwise.evaluation.metric_runner import MetricResult, OnQueryProgress, run_metrics
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.samples import GenerationOutput, Sample, SampleResult
from turnwise.evaluation.system_under_test import SystemUnderTest, TextGenerator

REPLY_METRICS = ("chrf", "length_ratio", "distinct_2", "self_bleu")  # and the gates
MAX_TOKENS = 128  # of a reply
SAMPLING_SEED = 0
PERPLEXITY_DIALOGUES = 200
SELECTION_SEEDS = 3  # the metric takes 120 contexts; each seed draws others
CONTEXT_FILES = ("test", "evaluator_train", "evaluator_valid")


@dataclass(frozen=True, slots=True)
class ExperimentData:
    """The files of `prepare.py`.

    Attributes:
        contexts: dialogues that end with a human reply, by the name of their file.
        valid: held-out dialogues for the perplexity.
    """

    contexts: Mapping[str, Sequence[Conversation]]
    valid: Sequence[Conversation]


@dataclass(frozen=True, slots=True)
class ModelMeasurements:
    """What is known about a model.

    Attributes:
        groups: ids of the test contexts, `(G)`.
        sums: sums of each metric of replies by temperature, `(G, K)`.
        perplexity: perplexity of the human replies in `valid`.
        selection: R@1 of 20 on test contexts.
        replies: replies by file and temperature, in the order of the contexts.
    """

    groups: Sequence[str]
    sums: Mapping[float, Mapping[str, FloatArray]]
    perplexity: MetricResult
    selection: MetricResult | None
    replies: Mapping[tuple[str, float], Sequence[str]]


def load_data(folder: Path, limit: int | None = None) -> ExperimentData:
    """Read the files of `prepare.py`. Raises `InvalidData` if one is missing."""
    contexts = {name: _read(folder / f"{name}.jsonl", limit) for name in CONTEXT_FILES}
    return ExperimentData(contexts, _read(folder / "generator_valid.jsonl", limit)[:PERPLEXITY_DIALOGUES])


def reply_metrics() -> list[Metric]:
    """The metrics of generated replies."""
    return [*load_metrics(REPLY_METRICS), GateMetric()]


def plain_sampling() -> dict[str, Any]:
    """Parameters that sample from the model's own distribution, whatever its defaults are."""
    neutral = {
        name: spec.neutral for name, spec in PARAMETER_SPECS.items() if spec.neutral is not None and spec.has_cli_flag
    }
    return neutral | {"max_tokens": MAX_TOKENS}


def measure_model(
    system: SystemUnderTest,
    data: ExperimentData,
    temperatures: Sequence[float],
    on_progress: OnQueryProgress = lambda *_: None,
) -> ModelMeasurements:
    """Generate all replies of a model, and compute the metrics.

    Args:
        system: the model.
        data: the contexts.
        temperatures: sampling temperatures; one reply to each context at each of them.
        on_progress: receives the progress.
    """
    metrics = reply_metrics()
    samples = {name: last_reply_samples(dialogues) for name, dialogues in data.contexts.items()}
    _fill_cache(
        system, [sample for file_samples in samples.values() for sample in file_samples], temperatures, on_progress
    )
    sums: dict[float, dict[str, FloatArray]] = {}
    replies: dict[tuple[str, float], list[str]] = {}
    groups: Sequence[str] = ()
    for temperature in temperatures:
        for name, file_samples in samples.items():
            # One metric is enough to get the replies to the evaluator's contexts.
            used = metrics if name == "test" else metrics[:1]
            at_temperature = [_at_temperature(sample, temperature) for sample in file_samples]
            results = run_metrics(system, used, {metric.NAME: at_temperature for metric in used}, seeds=[SAMPLING_SEED])
            first = results[used[0].NAME]
            replies[name, temperature] = [result.outputs[0].text for result in first.results_by_seed[0]]
            if name == "test":
                sums[temperature] = {metric: result.sums_GK for metric, result in results.items()}
                groups = first.groups
    return ModelMeasurements(groups, sums, *_measure_likelihoods(system, data, on_progress), replies)


def measure_human_replies(data: ExperimentData) -> dict[str, FloatArray]:
    """The sums of the metrics of replies for the human replies themselves."""
    samples = last_reply_samples(data.contexts["test"])
    results = [SampleResult((GenerationOutput(sample.reference),)) for sample in samples]
    return {metric.NAME: metric.statistics(samples, results) for metric in reply_metrics()}


def human_replies(dialogues: Sequence[Conversation]) -> list[str]:
    """The last reply of each dialogue."""
    return [reply for dialogue in dialogues if (pair := last_reply(dialogue)) for reply in pair[1:]]


def _fill_cache(
    system: SystemUnderTest, samples: Sequence[Sample], temperatures: Sequence[float], on_progress: OnQueryProgress
) -> None:
    """Generate all replies. Those to one context follow each other, so that they share its prefix in the engine."""
    assert isinstance(system, TextGenerator), "a model behind an engine"
    queries = [
        (query, SAMPLING_SEED)
        for sample in samples
        for temperature in temperatures
        for query in _at_temperature(sample, temperature).generation_queries
    ]
    num_done = 0

    def on_done(count: int) -> None:
        nonlocal num_done
        num_done += count
        on_progress("replies", num_done, len(queries))

    system.generate(queries, on_done)


def _measure_likelihoods(
    system: SystemUnderTest, data: ExperimentData, on_progress: OnQueryProgress
) -> tuple[MetricResult, MetricResult | None]:
    perplexity, selection = load_metrics(["perplexity", "selection"])
    if perplexity.NAME != "perplexity":
        perplexity, selection = selection, perplexity
    by_context: dict[str, Sample] = {}
    for seed in range(SELECTION_SEEDS):
        for sample in selection.samples(data.contexts["test"], seed):
            by_context.setdefault(sample.group, sample)
    samples = {
        "perplexity": perplexity.samples(data.valid, 0),
        **({"selection": list(by_context.values())} if by_context else {}),
    }
    results = run_metrics(system, [perplexity, selection], samples, seeds=[0], on_progress=on_progress)
    return results["perplexity"], results.get("selection")


def _at_temperature(sample: Sample, temperature: float) -> Sample:
    queries = tuple(replace(query, temperature=temperature) for query in sample.generation_queries)
    return replace(sample, generation_queries=queries)


def _read(path: Path, limit: int | None) -> list[Conversation]:
    return [item for item in read_source(path) if isinstance(item, Conversation)][:limit]
