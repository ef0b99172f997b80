"""What a cycle hands to the gate: its rules, the evidence, and the figures that are stored."""

from typing import Any

from turnwise.evaluation.gate.evidence import HELD_OUT, RETENTION, EvaluationFigures, figures_of
from turnwise.evaluation.gate.rules.negative_flips import NegativeFlipsRule
from turnwise.evaluation.gate.rules.safety import SafetyRule
from turnwise.evaluation.gate.rules_file import GateRules
from turnwise.evaluation.scorecard import Scorecard
from turnwise.improve.comparison import RetentionMetric


def forgetting_rules(rules: GateRules) -> GateRules:
    """The rules that need the measurement of forgetting only."""
    chosen = {
        name: rule
        for name, rule in rules.rules.items()
        if rule.evaluation == RETENTION or isinstance(rule, NegativeFlipsRule | SafetyRule)
    }
    return GateRules(rules.alpha, chosen)


def gate_evidence(card: Scorecard) -> dict[str, EvaluationFigures]:
    """The evaluations of the gate: all figures, and the likelihood of the first version's replies as its own."""
    figures = figures_of(card)
    rows = [
        row.model_copy(update={"name": "bits_per_byte"}) for row in figures.rows if row.name == RetentionMetric.NAME
    ]
    return {HELD_OUT: figures, RETENTION: EvaluationFigures(rows=tuple(rows))}


def comparison_figures(card: Scorecard) -> dict[str, Any]:
    """Values of the serving and of the new version by metric, for tables and curves."""
    rows = [row for row in card.as_dict()["rows"] if row["base_value"] is not None]
    keys = ("label", "value", "base_value", "difference", "difference_interval", "num_dialogues")
    return {row["name"]: {key: row[key] for key in keys} for row in rows}
