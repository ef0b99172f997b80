"""Prints a scorecard on the terminal."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnwise.evaluation.judge_summary import JudgeSummary
    from turnwise.evaluation.scorecard import Scorecard, ScorecardRow
    from turnwise.evaluation.statistics import ConfidenceInterval

MISSING_VALUE = "–"


def print_scorecard(scorecard: "Scorecard", console: Any) -> None:
    """Print the verdict and its reasons, the metrics, and the judge's summary."""
    from rich.table import Table

    has_base = any(row.base_value is not None for row in scorecard.rows)
    if has_base:
        color = {"better": "green", "worse": "red", "mixed": "yellow"}.get(scorecard.verdict or "", "")
        console.print(f"Verdict: {scorecard.verdict or 'none'}", style=f"bold {color}".strip(), highlight=False)
        for reason in scorecard.reasons:
            console.print(reason, markup=False, highlight=False)
    table = Table("metric", "value", *(("base", "difference", "verdict") if has_base else ("95% interval",)))
    for row in scorecard.rows:
        cells = _comparison_cells(row) if has_base else [_format_interval(row)]
        table.add_row(row.label, _format_number(row.value, row.value_format), *cells)
    console.print(table)
    if scorecard.judge is not None:
        _print_judge_summary(scorecard.judge, console)


def _print_judge_summary(summary: "JudgeSummary", console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from turnwise.evaluation.report.judge_section import judge_section

    section = judge_section(summary)
    table = Table("judge", "value", "95% interval")
    for name, value, interval, _ in section.rows:
        table.add_row(name, value, Text(interval))  # as text, because brackets would be markup
    console.print(section.title, markup=False, highlight=False)
    console.print(section.description, markup=False, highlight=False)
    console.print(table)


def _comparison_cells(row: "ScorecardRow") -> list[str]:
    """Base value, difference and verdict; the verdict of a metric that does not count is in parentheses."""
    if row.base_value is None or row.difference is None or row.difference_interval is None:
        return ["", "", ""]
    signed = f"+{row.value_format}"
    low, high = row.difference_interval.low, row.difference_interval.high
    interval = ""
    if _is_finite(row.difference_interval):
        interval = f" ({_format_number(low, signed)} to {_format_number(high, signed)})"
    return [
        _format_number(row.base_value, row.value_format),
        _format_number(row.difference, signed) + interval,
        row.verdict if row.counts_for_verdict else f"({row.verdict})" * bool(row.verdict),
    ]


def _format_interval(row: "ScorecardRow") -> str:
    if not _is_finite(row.interval):
        return MISSING_VALUE
    low, high = (_format_number(bound, row.value_format) for bound in (row.interval.low, row.interval.high))
    return f"{low} to {high}"


def _format_number(value: float, value_format: str) -> str:
    return f"{value:{value_format}}" if math.isfinite(value) else MISSING_VALUE


def _is_finite(interval: "ConfidenceInterval") -> bool:
    return math.isfinite(interval.low) and math.isfinite(interval.high)
