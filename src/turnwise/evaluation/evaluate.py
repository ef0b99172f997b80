"""Evaluates a model, and compares it with a second one."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from turnwise.core.errors import InvalidData
from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation
from turnwise.evaluation.judge_summary import JudgeSummary
from turnwise.evaluation.llm_judge import LlmJudge
from turnwise.evaluation.metric import Metric
from turnwise.evaluation.metric_runner import (
    MetricResult,
    are_reply_samples,
    not_applicable,
    plan_samples,
    reply_result,
    run_metrics,
)
from turnwise.evaluation.model_under_test import ModelUnderTest
from turnwise.evaluation.samples import Sample
from turnwise.evaluation.scorecard import Scorecard, build_scorecard
from turnwise.evaluation.system_under_test import SystemUnderTest
from turnwise.evaluation.temperature_sweep import TemperaturePoint, run_temperature_sweep
from turnwise.evaluation.template_check import template_error

LIBRARIES = ("turnwise", "torch", "numpy", "scipy", "sacrebleu", "rouge-score", "tokenizers")

OpenSystem = Callable[[], AbstractContextManager[SystemUnderTest]]
OnEvaluationProgress = Callable[[str, str, int, int], None]
"""Receives the system's name (unique in an evaluation), the kind of query, finished queries and their total."""
OnPlan = Callable[[Mapping[str, Sequence[Sample]]], None]
"""Receives the samples by metric, without metrics that have no samples in the data."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        scorecard: metrics with intervals, and the verdict of a comparison.
        model: results of the model by metric.
        base: results of the base by metric; None without a base.
        temperature_sweep: points of both systems.
        not_applicable: by metric that was skipped, the system and the capabilities that it lacks.
    """

    scorecard: Scorecard
    model: Mapping[str, MetricResult]
    base: Mapping[str, MetricResult] | None
    temperature_sweep: Sequence[TemperaturePoint]
    not_applicable: Mapping[str, str]


@dataclass(frozen=True)
class _SystemRun:
    identity: dict[str, Any]
    results: dict[str, MetricResult]
    points: list[TemperaturePoint]
    not_applicable: dict[str, str]


def evaluate(
    open_model: OpenSystem,
    open_base: OpenSystem | None,
    dialogues: Sequence[Conversation],
    metrics: Sequence[Metric],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    seed: int = 0,
    temperatures: Sequence[float] = (),
    judge: LlmJudge | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_plan: OnPlan = lambda _: None,
    on_progress: OnEvaluationProgress = lambda *_: None,
) -> Evaluation:
    """Evaluate a model, then its base; only one of them is in memory at a time.

    Args:
        open_model: opens the model.
        open_base: opens the system to compare with; None compares with nothing.
        dialogues: held-out dialogues.
        metrics: the metrics to compute.
        seeds: sampling seeds; each history is answered once per seed.
        seed: seed of all other random choices, such as distractors.
        temperatures: temperatures of the temperature sweep; empty skips it.
        judge: compares the answers for the reader; the verdict does not depend on it.
        metadata: more that is needed to reproduce the evaluation, such as the command.
        on_plan: called once, before the first query.
        on_progress: receives the progress.

    Raises:
        InvalidData: no metric has samples or is applicable to both systems, the judge has nothing to compare, or a
            chat template rejects a dialogue.
        UserError: a model cannot be opened.
    """
    samples_by_metric = plan_samples(metrics, dialogues, seed)
    if not samples_by_metric:
        raise InvalidData(_no_samples_message(metrics, dialogues))
    on_plan(samples_by_metric)
    if judge is not None and (open_base is None or not any(map(are_reply_samples, samples_by_metric.values()))):
        raise InvalidData(
            "A judge compares the answers of two models: give --against and a metric that is computed from answers."
        )

    def run(open_system: OpenSystem, model_name: str | None) -> _SystemRun:
        with open_system() as system:
            # A model may be compared with itself, for example quantized.
            name = f"{system.name} (base)" if system.name == model_name else system.name
            _check_template(system, dialogues)

            def on_system_progress(kind: str, done: int, total: int) -> None:
                on_progress(name, kind, done, total)

            results = run_metrics(system, metrics, samples_by_metric, seeds=seeds, on_progress=on_system_progress)
            points = run_temperature_sweep(system, dialogues, temperatures, seeds, on_system_progress)
            skipped = not_applicable([metric for metric in metrics if metric.NAME in samples_by_metric], system)
            reasons = {metric: f"{name} has no {capabilities}" for metric, capabilities in skipped.items()}
            return _SystemRun(_identity(system), results, points, reasons)

    runs = [run(open_model, None)]
    if open_base is not None:
        runs.append(run(open_base, runs[0].identity["name"]))
    skipped = {metric: reason for system_run in reversed(runs) for metric, reason in system_run.not_applicable.items()}
    # Only metrics that are applicable to both systems are compared.
    model, *others = (
        {name: result for name, result in system_run.results.items() if name not in skipped} for system_run in runs
    )
    base = others[0] if others else None
    if not model:
        raise InvalidData(f"None of these metrics is applicable: {'; '.join(dict.fromkeys(skipped.values()))}.")
    run_metadata = {
        **(metadata or {}),
        "model": runs[0].identity,
        **({"base": runs[1].identity} if base is not None else {}),
        "dialogues": len(dialogues),
        "data": data_digest(dialogues),
        "seeds": list(seeds),
        "seed": seed,
        "metrics": list(model),
        **({"not_applicable": skipped} if skipped else {}),
        "versions": versions(),
    }
    scorecard = build_scorecard(model, base, run_metadata)
    if judge is not None and base is not None:
        scorecard = replace(scorecard, judge=_judge_answers(judge, model, base, on_progress))
    return Evaluation(scorecard, model, base, [point for system_run in runs for point in system_run.points], skipped)


def data_digest(dialogues: Sequence[Conversation]) -> str:
    """Return a digest of the roles and texts of these dialogues."""
    digest = hashlib.sha256()
    for dialogue in dialogues:
        digest.update(repr([(message.role, message.content) for message in dialogue.messages]).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the figures depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in LIBRARIES}}


def _judge_answers(
    judge: LlmJudge,
    model: Mapping[str, MetricResult],
    base: Mapping[str, MetricResult],
    on_progress: OnEvaluationProgress,
) -> JudgeSummary:
    model_replies, base_replies = reply_result(model), reply_result(base)
    assert model_replies is not None, "checked before the evaluation"
    assert base_replies is not None, "checked before the evaluation"
    return judge.compare(
        model_replies, base_replies, lambda done, total: on_progress(judge.model, "verdicts", done, total)
    )


def _no_samples_message(metrics: Sequence[Metric], dialogues: Sequence[Conversation]) -> str:
    if not dialogues:
        return "There is nothing to evaluate: the data has no dialogues."
    if any(last_reply(dialogue) for dialogue in dialogues):
        names = ", ".join(metric.NAME for metric in metrics)
        return f"There is nothing to evaluate: the data has no samples for {names}."
    return "There is nothing to evaluate: no dialogue has an assistant reply."


def _identity(system: SystemUnderTest) -> dict[str, Any]:
    """Name, fingerprint and parameters of a system, for the report."""
    if isinstance(system, ModelUnderTest):
        return {"name": system.name, "fingerprint": system.fingerprint, "parameters": system.sampling}
    return {"name": system.name}


def _check_template(system: SystemUnderTest, dialogues: Sequence[Conversation]) -> None:
    if not isinstance(system, ModelUnderTest):
        return
    for number, dialogue in enumerate(dialogues, 1):
        if (error := template_error(dialogue, {system.name: system.renderer})) is not None:
            raise InvalidData(f"Dialogue {number}: {error}")
