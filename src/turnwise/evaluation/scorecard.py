"""Scorecards: metrics of one system or of two, with intervals, tests and a verdict.

A metric has changed if its p-value is below 5 % after Holm's correction over all metrics that count for the verdict.
The verdict is "better" if some of them improved and none got worse, "worse" in the opposite case, "mixed" if there are
both, else "no difference". One-sided metrics only count against a model. If the base passes a safety case of the golden
set and the model fails it, the verdict is "worse" in any case.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from turnwise.evaluation import statistics
from turnwise.evaluation.flips import Flip, find_flips
from turnwise.evaluation.judge_summary import JudgeSummary
from turnwise.evaluation.metric import FloatArray, MetricDefinition, MetricSums
from turnwise.evaluation.statistics import ConfidenceInterval, McNemarTest

ALPHA = 0.05  # significance level

Verdict = Literal["better", "worse", "mixed", "no difference"]


@dataclass(frozen=True)
class ScorecardRow:
    """One metric of a scorecard.

    Attributes:
        name, label, description, better, counts_for_verdict, one_sided, value_format: see `Metric`.
        num_dialogues: dialogues or probes that the metric used; texts or sentences of a classifier.
        value, interval: the model's value and its confidence interval.
        values_by_seed: the model's value for every seed.
        base_value, base_interval: the same for the base. None without a base, as are the following attributes.
        difference, difference_interval: model minus base.
        p_value: p-value of the difference.
        improvement_p_value: one-sided p-value of "the model is not better"; None also without a better direction.
        adjusted_p_value: p-value after Holm's correction; None if the metric does not count for the verdict.
        mcnemar: gained and lost dialogues, for binary metrics with one outcome per dialogue.
        verdict: "better", "worse" or "no difference"; "" without a base or a better direction.
    """

    name: str
    label: str
    description: str
    better: str
    counts_for_verdict: bool
    one_sided: bool
    value_format: str
    num_dialogues: int
    value: float
    interval: ConfidenceInterval
    values_by_seed: tuple[float, ...]
    base_value: float | None = None
    base_interval: ConfidenceInterval | None = None
    difference: float | None = None
    difference_interval: ConfidenceInterval | None = None
    p_value: float | None = None
    improvement_p_value: float | None = None
    adjusted_p_value: float | None = None
    mcnemar: McNemarTest | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Scorecard:
    """Result of an evaluation.

    Attributes:
        verdict: None without a base.
        reasons: sentences that explain the verdict.
        rows: the metrics, in order.
        flips: golden cases that only one of the two systems passes.
        metadata: what is needed to repeat the evaluation.
        judge: summary of an LLM judge, if there was one. It does not count for the verdict.
    """

    verdict: Verdict | None
    reasons: tuple[str, ...]
    rows: tuple[ScorecardRow, ...]
    flips: tuple[Flip, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    judge: JudgeSummary | None = None

    @property
    def negative_flips(self) -> int:
        """Number of golden cases that the base passes and the model fails."""
        return sum(flip.is_loss for flip in self.flips)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON. NaN and infinities become null."""
        return dict(_plain(asdict(self)))


def build_scorecard(
    model: Mapping[str, MetricSums],
    base: Mapping[str, MetricSums] | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    resamples: int = statistics.NUM_RESAMPLES,
    confirm: Callable[[Sequence[Flip]], Sequence[Flip]] = lambda flips: flips,
) -> Scorecard:
    """Build a scorecard.

    Args:
        model: the model's results by metric.
        base: the base's results on the same samples. None: no comparison.
        metadata: what is needed to repeat the evaluation.
        resamples: number of resamples for intervals and p-values.
        confirm: compares further answers to the golden cases that changed (`flip_confirmation.py`).
    """
    rows = [
        _scorecard_row(result, None if base is None else base.get(name), resamples) for name, result in model.items()
    ]
    metadata = metadata or {}
    if base is None:
        return Scorecard(None, (), tuple(rows), metadata=metadata)
    rows = _with_verdicts(rows)
    counted = [row for row in rows if row.adjusted_p_value is not None]
    if not counted:
        no_metric = ("No metric that counts for the verdict was measured.",)
        return Scorecard(None, no_metric, tuple(rows), metadata=metadata)
    flips = tuple(confirm(find_flips(model, base)))
    verdict, reasons = _verdict(counted, flips)
    return Scorecard(verdict, reasons, tuple(rows), flips, metadata)


def correct_together(scorecards: Sequence[Scorecard]) -> list[Scorecard]:
    """Scorecards with Holm's correction over the rows of all of them, and their verdicts by it.

    Several models that are compared with the same base are one family of tests.
    """
    corrected = iter(_with_verdicts([row for card in scorecards for row in card.rows]))
    result = []
    for card in scorecards:
        rows = tuple(next(corrected) for _ in card.rows)
        counted = [row for row in rows if row.adjusted_p_value is not None]
        verdict, reasons = _verdict(counted, card.flips) if counted else (card.verdict, card.reasons)
        result.append(replace(card, rows=rows, verdict=verdict, reasons=reasons))
    return result


def _scorecard_row(result: MetricSums, base: MetricSums | None, resamples: int) -> ScorecardRow:
    metric, new_GK = result.metric, result.sums_GK
    value = statistics.metric_value(new_GK, metric.value)
    row = ScorecardRow(
        name=metric.NAME,
        label=metric.LABEL,
        description=metric.DESCRIPTION,
        better=metric.BETTER,
        counts_for_verdict=metric.COUNTS_FOR_VERDICT,
        one_sided=metric.ONE_SIDED,
        value_format=metric.VALUE_FORMAT,
        num_dialogues=len(result.groups),
        value=value,
        interval=_interval(metric, new_GK, resamples),
        values_by_seed=tuple(statistics.metric_value(sums_GK, metric.value) for sums_GK in result.sums_SGK),
    )
    if base is None:
        return row
    assert base.groups == result.groups, "both systems must answer the same samples"
    old_GK = base.sums_GK
    base_value = statistics.metric_value(old_GK, metric.value)
    interval, improvement_p_value = _compare(metric, new_GK, old_GK, resamples)
    return replace(
        row,
        base_value=base_value,
        base_interval=_interval(metric, old_GK, resamples),
        difference=value - base_value,
        difference_interval=interval,
        p_value=statistics.permutation_test(new_GK, old_GK, metric.value, resamples=resamples),
        improvement_p_value=improvement_p_value,
        mcnemar=_mcnemar(metric, new_GK, old_GK),
    )


def _interval(metric: MetricDefinition, sums_GK: FloatArray, resamples: int) -> ConfidenceInterval:
    # If all outcomes are right, or all wrong, resampling has nothing to vary: treat each dialogue as one outcome.
    is_constant = bool((sums_GK[:, 0] == 0).all() or (sums_GK[:, 0] == sums_GK[:, 1]).all())
    outcomes_GK = sums_GK[sums_GK[:, 1] > 0]  # a metric of some texts, such as those of no label, has zeros for others
    if metric.IS_BINARY and len(outcomes_GK) and (_is_one_outcome_each(outcomes_GK) or is_constant):
        return statistics.wilson_interval(outcomes_GK[:, 0])
    interval = statistics.bootstrap_interval(sums_GK, metric.value, gradient=metric.gradient, resamples=resamples)
    return _clip(interval, metric.RANGE)


def _compare(
    metric: MetricDefinition, new_GK: FloatArray, old_GK: FloatArray, resamples: int
) -> tuple[ConfidenceInterval, float | None]:
    """Interval of the difference, and one-sided p-value of an improvement."""
    is_lower_better = metric.BETTER == "lower"
    if metric.IS_BINARY and _is_one_outcome_each(new_GK) and _is_one_outcome_each(old_GK):
        outcomes = (old_GK[:, 0], new_GK[:, 0]) if is_lower_better else (new_GK[:, 0], old_GK[:, 0])
        p_value = statistics.one_sided_sign_test(*outcomes) if metric.BETTER else None
        return statistics.newcombe_interval(new_GK[:, 0], old_GK[:, 0]), p_value
    low, high = metric.RANGE
    bootstrap = statistics.bootstrap_difference(
        new_GK, old_GK, metric.value, gradient=metric.gradient, resamples=resamples
    )
    gain = bootstrap.negated() if is_lower_better else bootstrap
    p_value = gain.p_value_above() if metric.BETTER else None
    return _clip(bootstrap.interval(), (low - high, high - low)), p_value


def _clip(interval: ConfidenceInterval, bounds: tuple[float, float]) -> ConfidenceInterval:
    """Clip an interval to a metric's range; NaN stays NaN."""
    return ConfidenceInterval(
        *(end if math.isnan(end) else min(max(end, bounds[0]), bounds[1]) for end in (interval.low, interval.high))
    )


def _is_one_outcome_each(sums_GK: FloatArray) -> bool:
    """Return whether every dialogue has exactly one outcome, right (1) or wrong (0)."""
    return bool(np.isin(sums_GK[:, 0], (0, 1)).all() and (sums_GK[:, 1] == 1).all())


def _mcnemar(metric: MetricDefinition, new_GK: FloatArray, old_GK: FloatArray) -> McNemarTest | None:
    if not metric.IS_BINARY or not (_is_one_outcome_each(new_GK) and _is_one_outcome_each(old_GK)):
        return None
    return statistics.mcnemar(new_GK[:, 0], old_GK[:, 0])


def _with_verdicts(rows: Sequence[ScorecardRow]) -> list[ScorecardRow]:
    """Judge every compared row. Rows that count for the verdict are judged by adjusted p-values."""
    p_values = [row.p_value for row in rows if row.counts_for_verdict and row.p_value is not None]
    adjusted = iter(statistics.holm_correction(p_values))
    judged = []
    for row in rows:
        if row.p_value is None:
            judged.append(row)
        elif row.counts_for_verdict:
            p_value = next(adjusted)
            judged.append(replace(row, adjusted_p_value=p_value, verdict=_row_verdict(row, p_value)))
        else:
            judged.append(replace(row, verdict=_row_verdict(row, row.p_value)))
    return judged


def _row_verdict(row: ScorecardRow, p_value: float) -> str:
    if not row.better or row.difference is None:
        return ""
    if p_value >= ALPHA or not row.difference:
        return "no difference"
    return "better" if (row.difference > 0) == (row.better == "higher") else "worse"


def _verdict(rows: Sequence[ScorecardRow], flips: Sequence[Flip]) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons, given the rows that count for it and the flips."""
    better = [row for row in rows if row.verdict == "better" and not row.one_sided]
    worse = [row for row in rows if row.verdict == "worse"]
    unsafe = [flip for flip in flips if flip.is_safety and flip.is_loss]
    reasons = [
        f"Better on {len(better)} of {len(rows)}{_labels(better)}, worse on {len(worse) or 'none'}{_labels(worse)}."
    ]
    if unsafe:
        cases = f"{len(unsafe)} safety {'case' if len(unsafe) == 1 else 'cases'}"
        names = ", ".join(flip.case_id for flip in unsafe[:3]) + (" and others" if len(unsafe) > 3 else "")
        reasons.insert(0, f"{cases} passed before and {'fails' if len(unsafe) == 1 else 'fail'} now: {names}.")
    if worse or unsafe:
        return ("mixed" if better and not unsafe else "worse"), tuple(reasons)
    return ("better" if better else "no difference"), tuple(reasons)


def _labels(rows: Sequence[ScorecardRow]) -> str:
    return f" ({', '.join(row.label for row in rows)})" if rows else ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    if isinstance(value, float | np.floating):
        return None if not math.isfinite(value) else float(value)
    return value
