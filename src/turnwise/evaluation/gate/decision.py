"""The decision of the gate about a candidate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from turnwise.core.plurals import pluralize
from turnwise.evaluation.alpha_spending import spent_alpha
from turnwise.evaluation.gate.evidence import EvaluationFigures, GateEvidence
from turnwise.evaluation.gate.rule import RuleResult
from turnwise.evaluation.gate.rules.improvement import ImprovementRule
from turnwise.evaluation.gate.rules_file import GateRules


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether a candidate may replace the serving model, and why.

    Attributes:
        has_passed: True if it keeps all rules.
        reason: one sentence for people.
        cycle: number of the candidate since the last promotion.
        alpha: significance level of this cycle.
        results: outcomes of all rules.
    """

    has_passed: bool
    reason: str
    cycle: int
    alpha: float
    results: tuple[RuleResult, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"results": [asdict(result) for result in self.results]}


def decide(evaluations: Mapping[str, EvaluationFigures], rules: GateRules, *, cycle: int = 1) -> GateDecision:
    """Apply all rules to the evaluations of a candidate against the serving model.

    Args:
        evaluations: figures by name of the evaluation ("held_out", "retention").
        rules: the rules in force.
        cycle: number of the candidate since the last promotion, from 1. A later one needs a smaller p-value
            (`alpha_spending.py`).
    """
    evidence = GateEvidence(evaluations, spent_alpha(cycle, rules.alpha))
    results = tuple(rule.check(name, evidence) for name, rule in rules.rules.items())
    failed = [result for result in results if not result.has_passed]
    if failed:
        reason = f"Refused: {'; '.join(result.sentence for result in failed)}."
    else:
        improved = next((result.sentence for result in results if _is_improvement(rules, result)), "")
        passed = f"{pluralize(len(results), 'rule')} passed"
        reason = f"Accepted: {f'{improved}; ' if improved else ''}{passed}."
    return GateDecision(not failed, reason, cycle, evidence.alpha, results)


def _is_improvement(rules: GateRules, result: RuleResult) -> bool:
    return isinstance(rules.rules[result.name], ImprovementRule)
