"""The results as Markdown and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from arm_comparison import (
    ArmComparison,
    MeasuredModel,
    accuracy_curve,
    points_text,
    relative_text,
    reply_curve,
    sum_models,
    temperatures_of,
)
from evaluator_checks import EvaluatorCheck
from model_measurements import reply_metrics

from turnwise.evaluation.metric import FloatArray

EVALUATOR_LABELS = {
    "ngrams": "fresh evaluator, n-grams",
    "encoder": "fresh evaluator, encoder",
    "length": "length only",
    "ending": "ending only",
}


@dataclass(frozen=True)
class ExperimentResults:
    """All results.

    Attributes:
        arms: the models of each arm, the reference first.
        reference: name of the reference arm.
        human: sums of the metrics of replies for the human replies, `(G, K)`.
        checks: checks of the evaluators.
        comparisons: each arm against the reference.
        table_temperature: temperature of the first table.
    """

    arms: Mapping[str, Sequence[MeasuredModel]]
    reference: str
    human: Mapping[str, FloatArray]
    checks: Sequence[EvaluatorCheck]
    comparisons: Sequence[ArmComparison]
    table_temperature: float


def markdown_report(results: ExperimentResults) -> str:
    """Verdicts, tables and how to read them."""
    return "\n".join([
        "# Results", "",
        *(f"- {comparison.verdict(results.reference)}" for comparison in results.comparisons), "",
        *_difference_table(results), "",
        *_value_table(results), "",
        *_check_table(results.checks), "",
        "![Quality by diversity](quality_diversity.png)", "",
    ])  # fmt: skip


def json_report(results: ExperimentResults) -> dict[str, Any]:
    """All figures, with the curves of each arm and of each model."""
    metrics = {metric.NAME: metric for metric in reply_metrics()}
    return {
        "reference": results.reference,
        "table_temperature": results.table_temperature,
        "human": {name: _number(metrics[name].value(sums.sum(axis=0))) for name, sums in results.human.items()},
        "checks": [asdict(check) | {"passes": check.passes} for check in results.checks],
        "arms": {
            name: {
                "curve": _curve_rows(models),
                **_likelihoods(models),
                "models": {
                    str(model.seed): {"curve": _curve_rows([model]), **_likelihoods([model])} for model in models
                },
            }
            for name, models in results.arms.items()
        },
        "comparisons": {
            comparison.arm: _plain(asdict(comparison))
            | {"goals": comparison.goals(), "verdict": comparison.verdict(results.reference)}
            for comparison in results.comparisons
        },
    }


def _difference_table(results: ExperimentResults) -> list[str]:
    evaluators = list(next(iter(results.arms.values()))[0].credits)
    titles = [
        f"against {results.reference}", "chrF", "chrF by seed", "gate pass rate",
        *(EVALUATOR_LABELS[name] for name in evaluators), "R@1/20", "perplexity", "length", "points", "goals reached",
    ]  # fmt: skip
    lines = [
        f"Differences from {results.reference}, with 95 % intervals (paired bootstrap over dialogues, seeds averaged). "
        "chrF, gate pass rate and evaluators are compared at equal distinct-2; chrF, gates, perplexity and length are "
        "relative. `points` counts the temperatures that could be compared.",
        "",
        *_header(titles),
    ]
    for item in results.comparisons:
        goals = item.goals()
        lines.append(
            _row([
                item.arm, relative_text(item.quality),
                ", ".join(f"{value:+.1%}" for value in item.quality_by_seed.values()) or "–",
                relative_text(item.gate_pass), *(points_text(item.evaluators[name]) for name in evaluators),
                "–" if item.selection is None else points_text(item.selection), relative_text(item.perplexity),
                f"{item.length:+.1%}", str(item.quality.num_points), f"{sum(goals.values())} of {len(goals)}",
            ])
        )  # fmt: skip
    return lines


def _value_table(results: ExperimentResults) -> list[str]:
    metrics, temperature = reply_metrics(), results.table_temperature
    evaluators = list(next(iter(results.arms.values()))[0].credits)
    titles = [
        f"at temperature {temperature:g}", "seeds", *(metric.LABEL for metric in metrics), "R@1/20", "perplexity",
        *(EVALUATOR_LABELS[name] for name in evaluators),
    ]  # fmt: skip
    lines = [
        "Values, and the accuracy of each evaluator: 50 % cannot tell replies from human ones.",
        "",
        *_header(titles),
    ]
    for name, models in results.arms.items():
        index = temperatures_of(models).index(temperature)
        values = [f"{_curve_values(models, metric)[index]:{metric.VALUE_FORMAT}}" for metric in metrics]
        likelihoods = _likelihoods(models)
        accuracies = [
            float(curve.points(curve.sums_GK.sum(axis=0))[1][index])
            for curve in (accuracy_curve(models, evaluator) for evaluator in evaluators)
        ]
        selection = likelihoods["selection"]
        lines.append(
            _row([
                name, str(len(models)), *values, "–" if selection is None else f"{selection:.1%}",
                f"{likelihoods['perplexity']:.2f}", *(f"{accuracy:.1%}" for accuracy in accuracies),
            ])
        )  # fmt: skip
    human = [f"{metric.value(results.human[metric.NAME].sum(axis=0)):{metric.VALUE_FORMAT}}" for metric in metrics]
    return [*lines, _row(["human replies", "–", *human, *["–"] * (2 + len(evaluators))])]


def _check_table(checks: Sequence[EvaluatorCheck]) -> list[str]:
    lines = [
        "Checks of the evaluators on human replies.",
        "",
        *_header(["check", "evaluator", "accuracy", "expected", ""]),
    ]
    for check in checks:
        expected = f"{check.low:.0%} to {check.high:.0%}"
        label = EVALUATOR_LABELS[check.evaluator]
        lines.append(
            _row([check.task, label, f"{check.accuracy:.1%}", expected, "as expected" if check.passes else "FAILED"])
        )
    return lines


def _curve_rows(models: Sequence[MeasuredModel]) -> list[dict[str, Any]]:
    metrics = reply_metrics()
    values = {metric.NAME: _curve_values(models, metric) for metric in metrics}
    curves = {name: accuracy_curve(models, name) for name in models[0].credits}
    accuracies = {name: curve.points(curve.sums_GK.sum(axis=0))[1] for name, curve in curves.items()}
    return [
        {
            "temperature": temperature,
            **{name: _number(values_T[index]) for name, values_T in values.items()},
            "evaluators": {name: _number(values_T[index]) for name, values_T in accuracies.items()},
        }
        for index, temperature in enumerate(temperatures_of(models))
    ]


def _curve_values(models: Sequence[MeasuredModel], metric: Any) -> FloatArray:
    curve = reply_curve(models, metric)
    return curve.points(curve.sums_GK.sum(axis=0))[1]


def _likelihoods(models: Sequence[MeasuredModel]) -> dict[str, float | None]:
    measurements = [model.measurements for model in models]
    perplexity = sum_models(models, lambda model: model.measurements.perplexity.sums_GK).sum(axis=0)
    selections = [item.selection for item in measurements if item.selection is not None]
    return {
        "perplexity": _number(measurements[0].perplexity.metric.value(perplexity)),
        "selection": _number(selections[0].metric.value(sum(selection.sums_GK.sum(axis=0) for selection in selections)))
        if selections
        else None,
    }


def _header(titles: Sequence[str]) -> list[str]:
    return [_row(titles), _row(["---"] * len(titles))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: Any) -> float | None:
    """A value for JSON, which has no NaN."""
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """Replace NaN by None in nested values."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return value
