"""The candidate has to be better: the lower confidence bound of the gain is above 0."""

from pydantic import Field

from turnwise.core.plurals import pluralize
from turnwise.evaluation.gate.evidence import GateEvidence
from turnwise.evaluation.gate.rule import GateRule, RuleResult
from turnwise.evaluation.gate.wording import describe_change


class ImprovementRule(GateRule):
    """A metric improved, by a paired test at the level of this cycle (`alpha_spending.py`).

    The p-value is at most the level if the lower bound of the paired bootstrap is above 0. A metric with one right or
    wrong outcome per dialogue has an exact sign test instead.
    """

    metric: str = Field(description="The primary metric.")
    min_dialogues: int = Field(default=20, ge=5, description="Fewest dialogues; with fewer, the bootstrap is unsure.")

    def check(self, name: str, evidence: GateEvidence) -> RuleResult:
        """Compare the one-sided p-value with the level."""
        row = evidence.row(self.evaluation, self.metric)
        if row is None or row.improvement_p_value is None:
            return self.missing(name, f"an improvement of '{self.metric}'")
        if row.num_dialogues < self.min_dialogues:
            sentence = f"{row.label} was measured on {pluralize(row.num_dialogues, 'dialogue')} (needed: "
            return RuleResult(name, False, row.num_dialogues, self.min_dialogues, f"{sentence}{self.min_dialogues})")
        p_value, alpha = row.improvement_p_value, evidence.alpha
        has_passed = p_value <= alpha
        verdict = "improved" if has_passed else "did not improve clearly"
        sign = "≤" if has_passed else ">"
        sentence = f"{row.label} {verdict}: {describe_change(row)}, p = {p_value:.2g} {sign} {alpha:.2g}"
        return RuleResult(name, has_passed, p_value, alpha, sentence)
