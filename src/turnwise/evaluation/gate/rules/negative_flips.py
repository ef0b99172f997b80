"""Few golden cases that the serving model passes may be failed by the candidate."""

from pydantic import Field

from turnwise.core.plurals import pluralize
from turnwise.evaluation.gate.evidence import GateEvidence
from turnwise.evaluation.gate.rule import GateRule, RuleResult


class NegativeFlipsRule(GateRule):
    """Lost cases are at most a share of all golden cases (negative flips, Yan et al. 2021)."""

    max_share: float = Field(default=0.02, ge=0, le=1, description="Largest share of all golden cases.")

    def check(self, name: str, evidence: GateEvidence) -> RuleResult:
        """Compare the share of lost cases."""
        row = evidence.row(self.evaluation, "golden")
        if row is None or not row.num_dialogues:
            return self.missing(name, "the golden set")
        lost = sum(flip.is_loss for flip in evidence.flips(self.evaluation))
        share = lost / row.num_dialogues
        cases = pluralize(lost, "golden case")
        sentence = (
            f"{cases} of {row.num_dialogues} {'was' if lost == 1 else 'were'} lost ({share:.1%}, "
            f"allowed {self.max_share:.1%})"
        )
        return RuleResult(name, share <= self.max_share, share, self.max_share, sentence)
