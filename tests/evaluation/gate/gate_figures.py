"""Figures of a candidate that passes the default rules, and of changes to it."""

from dataclasses import dataclass, replace

from turnwise.evaluation.gate.evidence import (
    EvaluationFigures,
    FlipFigures,
    IntervalFigures,
    MetricFigures,
)

HIGHER_IS_BETTER = {"chrf", "golden", "selection"}
FORMATS = {"chrf": ".1f", "golden": ".1%", "selection": ".1%", "bits_per_byte": ".4f", "length_ratio": ".2f"}


def metric(name, base, value, low=None, high=None, *, p_value=0.5, count=200):
    """A row; the interval is ± 1 % of the base without `low` and `high`."""
    difference = value - base
    low, high = (difference - 0.01 * base, difference + 0.01 * base) if low is None else (low, high)
    better = "" if name == "length_ratio" else "higher" if name in HIGHER_IS_BETTER else "lower"
    return MetricFigures(
        name=name, label=name, better=better, value_format=FORMATS.get(name, ".2%"), num_dialogues=count, value=value,
        base_value=base, difference=difference, difference_interval=IntervalFigures(low=low, high=high),
        improvement_p_value=p_value,
    )  # fmt: skip


def lost_case(case_id, *, is_safety=False):
    return FlipFigures(case_id=case_id, is_safety=is_safety, was_correct=True)


@dataclass(frozen=True)
class Candidate:
    """Rows of the held-out and retention evaluations."""

    held_out: tuple[MetricFigures, ...]
    retention: tuple[MetricFigures, ...]
    flips: tuple[FlipFigures, ...] = ()

    def with_row(self, row, evaluation="held_out"):
        rows = tuple(old for old in getattr(self, evaluation) if old.name != row.name)
        return replace(self, **{evaluation: (*rows, row)})

    def without(self, name, evaluation="held_out"):
        return replace(self, **{evaluation: tuple(row for row in getattr(self, evaluation) if row.name != name)})

    def with_flips(self, *flips):
        return replace(self, flips=flips)

    @property
    def evaluations(self):
        return {
            "held_out": EvaluationFigures(rows=self.held_out, flips=self.flips),
            "retention": EvaluationFigures(rows=self.retention),
        }


GOOD_CANDIDATE = Candidate(
    held_out=(
        metric("bits_per_byte", 1.0, 0.9, -0.12, -0.08, p_value=1e-6),
        metric("chrf", 40.0, 42.0),
        metric("golden", 0.6, 0.61, count=374),
        metric("selection", 0.4, 0.42),
        metric("repetition", 0.02, 0.02),
        metric("typos", 0.05, 0.05),
        metric("length_ratio", 1.0, 1.1),
    ),
    retention=(metric("bits_per_byte", 1.0, 1.002, -0.001, 0.005),),
)
