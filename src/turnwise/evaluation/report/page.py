"""The contents that all reports share, independent of the output format: verdict, metrics, figures and settings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnwise.evaluation.report import number_format as numbers
from turnwise.evaluation.report.escaping import clean
from turnwise.evaluation.report.svg import ReportFigure
from turnwise.evaluation.report.verdict_text import VERDICT_MARKS, has_base, headline, verdict_basis
from turnwise.evaluation.scorecard import Scorecard, ScorecardRow

DIRECTIONS = {"higher": "↑ higher is better", "lower": "↓ lower is better", "": ""}


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric as text; `base`, `difference` and `p_value` are empty without a base."""

    label: str
    description: str
    direction: str
    num_dialogues: str
    model: str
    model_interval: str
    base: str
    base_interval: str
    difference: str
    difference_interval: str
    p_value: str
    flip_counts: str
    mark: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """A report; `verdict` is empty without a base.

    Attributes:
        title: title of the page.
        model, base: names of the systems.
        verdict, mark, headline, reasons, basis: the verdict and its reasons, see `verdict_text.py`.
        unit: what metrics are computed on, as a noun: "dialogue", "text" or "sentence".
        verdict_rows, other_rows: metrics that count for the verdict, and others.
        figures: the figures.
        settings: names and values of all settings.
        has_base: whether two systems are compared.
    """

    title: str
    model: str
    base: str
    verdict: str
    mark: str
    headline: str
    reasons: Sequence[str]
    basis: Sequence[str]
    unit: str
    verdict_rows: Sequence[MetricRow]
    other_rows: Sequence[MetricRow]
    figures: Sequence[ReportFigure]
    settings: Sequence[tuple[str, str]]
    has_base: bool


def shared_contents(scorecard: Scorecard, figures: Sequence[ReportFigure], unit: str = "dialogue") -> dict[str, Any]:
    """Return the fields of `ReportPage` for a scorecard."""
    model_name, base_name = system_names(scorecard)
    return {
        "title": f"Evaluation of {model_name}" + (f" against {base_name}" if has_base(scorecard) else ""),
        "model": model_name,
        "base": base_name,
        "verdict": scorecard.verdict or "",
        "mark": VERDICT_MARKS.get(scorecard.verdict or "", ""),
        "headline": headline(scorecard),
        "reasons": scorecard.reasons[1:],
        "basis": verdict_basis(scorecard, unit),
        "unit": unit,
        "verdict_rows": [_metric_row(row) for row in scorecard.rows if row.counts_for_verdict],
        "other_rows": [_metric_row(row) for row in scorecard.rows if not row.counts_for_verdict],
        "figures": figures,
        "settings": list(_flatten(scorecard.metadata)),
        "has_base": has_base(scorecard),
    }


def _metric_row(row: ScorecardRow) -> MetricRow:
    value_format, mcnemar = row.value_format, row.mcnemar
    flip_counts = ""
    if mcnemar is not None:
        p_value = numbers.format_p_value(mcnemar.p_value)
        flip_counts = f"{mcnemar.gained} gained, {mcnemar.lost} lost; McNemar's p {p_value}"
    return MetricRow(
        row.label,
        row.description,
        DIRECTIONS[row.better],
        f"{row.num_dialogues:,}",
        numbers.format_value(row.value, value_format),
        numbers.format_interval(row.interval, value_format),
        numbers.format_value(row.base_value, value_format),
        numbers.format_interval(row.base_interval, value_format),
        numbers.format_difference(row.difference, value_format),
        numbers.format_difference_interval(row.difference_interval, value_format),
        numbers.format_p_value(row.adjusted_p_value if row.counts_for_verdict else row.p_value),
        flip_counts,
        VERDICT_MARKS.get(row.verdict, numbers.MISSING_VALUE),
        row.verdict,
    )


def system_names(scorecard: Scorecard) -> tuple[str, str]:
    """Return distinct names of the model and of the base."""
    model_name = _system_name(scorecard.metadata.get("model"), "the model")
    base_name = _system_name(scorecard.metadata.get("base"), "the base")
    if model_name == base_name:  # for example, a model against its quantized self
        base_name = f"{base_name} (base)"
    return model_name, base_name


def _system_name(identity: Any, default: str) -> str:
    """The name of a system, from its identity or its bare name."""
    name = identity.get("name") if isinstance(identity, Mapping) else identity
    return clean(str(name or default))


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of settings; nested names are joined with dots."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield clean(f"{prefix}{key}"), clean(", ".join(map(str, value)))
        elif value is not None:
            yield clean(f"{prefix}{key}"), clean(str(value))
