"""Figures of the gate in words."""

from turnwise.evaluation.gate.evidence import MetricFigures


def describe_change(row: MetricFigures) -> str:
    """The values of the serving model and of the candidate: "41.0% → 45.2%"."""
    assert row.value is not None, "the row compares two values"
    assert row.base_value is not None, "the row compares two values"
    return f"{row.base_value:{row.value_format}} → {row.value:{row.value_format}}"
