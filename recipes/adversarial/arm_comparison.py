"""Compares every arm with the reference arm, and states which goals it reaches.

Shapes: G dialogues, K sums of a metric.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from equal_diversity import CurveSums, Difference, compare_at_equal_diversity, compare_values
from model_measurements import ModelMeasurements, reply_metrics

from turnwise.evaluation.metric import FloatArray, MetricDefinition

MIN_QUALITY_GAIN = 0.05  # relative, of chrF at equal distinct-2, with the interval above 0
MIN_EVALUATOR_LOSS = 0.05  # points of accuracy at equal distinct-2, with the interval below 0
MAX_PERPLEXITY_RISE, MAX_LENGTH_CHANGE = 0.05, 0.1  # relative
MAIN_QUALITY, SECOND_QUALITY, MAIN_EVALUATOR = "chrf", "gate_pass", "ngrams"


class AccuracyMetric(MetricDefinition):
    """Accuracy of an evaluator: credits divided by pairs."""

    NAME = "evaluator_accuracy"
    LABEL = "accuracy of the fresh evaluator"
    DESCRIPTION = "Share of test contexts for which it tells the human reply from the generated one; a tie counts half."
    BETTER = "lower"
    RANGE = (0.0, 1.0)
    VALUE_FORMAT = ".1%"


@dataclass(frozen=True, slots=True)
class MeasuredModel:
    """Everything that is measured about a model.

    Attributes:
        seed: its seed.
        measurements: of its replies, and likelihoods.
        credits: by evaluator and temperature, credits and pairs per dialogue, `(G, 2)`.
    """

    seed: int
    measurements: ModelMeasurements
    credits: Mapping[str, Mapping[float, FloatArray]]


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """An arm against the reference arm. Differences are arm − reference.

    Attributes:
        arm: the arm.
        quality, gate_pass: relative differences at equal distinct-2.
        quality_by_seed: the same of chrF for each pair of models with one seed.
        evaluators: difference of each evaluator's accuracy at equal distinct-2.
        perplexity: relative difference.
        selection: difference of R@1; None if it was not measured.
        length: relative difference of the words of all replies, at the temperature of the table.
    """

    arm: str
    quality: Difference
    gate_pass: Difference
    quality_by_seed: Mapping[int, float]
    evaluators: Mapping[str, Difference]
    perplexity: Difference
    selection: Difference | None
    length: float

    def goals(self) -> dict[str, bool]:
        """Each goal, and whether it is reached."""
        evaluator = self.evaluators[MAIN_EVALUATOR]
        return {
            "quality": self.quality.value >= MIN_QUALITY_GAIN and self.quality.interval.low > 0,
            "evaluator": evaluator.value <= -MIN_EVALUATOR_LOSS and evaluator.interval.high < 0,
            "perplexity": self.perplexity.value <= MAX_PERPLEXITY_RISE,
            "length": abs(self.length) <= MAX_LENGTH_CHANGE,
        }

    def verdict(self, reference: str) -> str:
        """One sentence: the goals that are reached and those that are not, with their figures."""
        if not self.quality.num_points:
            return f"{self.arm}: not comparable, its distinct-2 has no value in common with that of {reference}."
        evaluator = self.evaluators[MAIN_EVALUATOR]
        figures = {
            "quality": f"chrF {relative_text(self.quality)}",
            "evaluator": f"accuracy of the fresh evaluator {points_text(evaluator)} points",
            "perplexity": f"perplexity {self.perplexity.value:+.1%}",
            "length": f"length {self.length:+.1%}",
        }
        goals = self.goals()
        reached = ", ".join(figures[name] for name, is_reached in goals.items() if is_reached)
        missed = ", ".join(figures[name] for name, is_reached in goals.items() if not is_reached)
        if not missed:
            return f"{self.arm}: better than {reference}, all goals are reached ({reached})."
        outcome = "not shown to be better than" if self.quality.interval.low <= 0 else "misses a goal against"
        return f"{self.arm}: {outcome} {reference}. Missed: {missed}. Reached: {reached or 'none'}."


def compare_arms(
    arms: Mapping[str, Sequence[MeasuredModel]], reference: str, table_temperature: float
) -> list[ArmComparison]:
    """Compare all arms except the reference with it.

    Args:
        arms: the models of each arm.
        reference: the arm that was trained by SFT for as long as the others.
        table_temperature: temperature at which lengths are compared.
    """
    return [
        _compare(name, models, arms[reference], table_temperature) for name, models in arms.items() if name != reference
    ]


def sum_models(models: Sequence[MeasuredModel], sums_of: Callable[[MeasuredModel], FloatArray]) -> FloatArray:
    """The sums of all models of an arm, so that its seeds are averaged per dialogue, `(G, K)`.

    A model of another tokenizer or seed has the same dialogues, in the same order.
    """
    groups = {tuple(model.measurements.groups) for model in models}
    assert len(groups) == 1, "all models answer the same contexts"
    return np.sum([sums_of(model) for model in models], axis=0)


def reply_curve(models: Sequence[MeasuredModel], metric: MetricDefinition) -> CurveSums:
    """The curve of a metric of replies over distinct-2."""
    return CurveSums(
        [_reply_sums(models, temperature, "distinct_2") for temperature in temperatures_of(models)],
        [_reply_sums(models, temperature, metric.NAME) for temperature in temperatures_of(models)],
        metric,
    )


def accuracy_curve(models: Sequence[MeasuredModel], evaluator: str) -> CurveSums:
    """The curve of an evaluator's accuracy over distinct-2."""
    temperatures = temperatures_of(models)
    return CurveSums(
        [_reply_sums(models, temperature, "distinct_2") for temperature in temperatures],
        [
            sum_models(models, lambda model, temperature=temperature: model.credits[evaluator][temperature])
            for temperature in temperatures
        ],
        AccuracyMetric(),
    )


def temperatures_of(models: Sequence[MeasuredModel]) -> list[float]:
    """The temperatures that the models were measured at, in ascending order."""
    return sorted(models[0].measurements.sums)


def _compare(
    name: str, models: Sequence[MeasuredModel], reference: Sequence[MeasuredModel], table_temperature: float
) -> ArmComparison:
    metrics = {metric.NAME: metric for metric in reply_metrics()}

    def at_equal_diversity(metric: str, models: Sequence[MeasuredModel], others: Sequence[MeasuredModel]) -> Difference:
        curves = (reply_curve(group, metrics[metric]) for group in (models, others))
        return compare_at_equal_diversity(*curves, is_relative=True)

    by_seed = {model.seed: model for model in reference}
    length = metrics["length_ratio"]
    lengths = [
        float(length.value(_reply_sums(group, table_temperature, "length_ratio").sum(axis=0)))
        for group in (models, reference)
    ]
    perplexity = models[0].measurements.perplexity.metric
    selection = None if models[0].measurements.selection is None else models[0].measurements.selection.metric
    return ArmComparison(
        name,
        at_equal_diversity(MAIN_QUALITY, models, reference),
        at_equal_diversity(SECOND_QUALITY, models, reference),
        {
            model.seed: at_equal_diversity(MAIN_QUALITY, [model], [by_seed[model.seed]]).value
            for model in models
            if model.seed in by_seed
        },
        {
            evaluator: compare_at_equal_diversity(
                accuracy_curve(models, evaluator), accuracy_curve(reference, evaluator), is_relative=False
            )
            for evaluator in models[0].credits
        },
        compare_values(_perplexity_sums(models), _perplexity_sums(reference), perplexity, is_relative=True),
        None
        if selection is None
        else compare_values(_selection_sums(models), _selection_sums(reference), selection, is_relative=False),
        lengths[0] / lengths[1] - 1 if lengths[1] else math.nan,
    )


def _reply_sums(models: Sequence[MeasuredModel], temperature: float, metric: str) -> FloatArray:
    return sum_models(models, lambda model: model.measurements.sums[temperature][metric])


def _perplexity_sums(models: Sequence[MeasuredModel]) -> FloatArray:
    return sum_models(models, lambda model: model.measurements.perplexity.sums_GK)


def _selection_sums(models: Sequence[MeasuredModel]) -> FloatArray:
    def sums_of(model: MeasuredModel) -> FloatArray:
        assert model.measurements.selection is not None, "all models have the same samples"
        return model.measurements.selection.sums_GK

    return sum_models(models, sums_of)


def relative_text(difference: Difference) -> str:
    """A relative difference with its interval."""
    if math.isnan(difference.value):
        return "–"
    low, high = difference.interval.low, difference.interval.high
    return f"{difference.value:+.1%} ({low:+.1%} to {high:+.1%})"


def points_text(difference: Difference) -> str:
    """A difference of two shares in percentage points, with its interval."""
    if math.isnan(difference.value):
        return "–"
    low, high = difference.interval.low, difference.interval.high
    return f"{100 * difference.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
