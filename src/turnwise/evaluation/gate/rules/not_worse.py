"""The candidate must not be clearly worse on a metric."""

from pydantic import Field

from turnwise.evaluation.gate.evidence import GateEvidence
from turnwise.evaluation.gate.rule import GateRule, RuleResult
from turnwise.evaluation.gate.wording import describe_change


class NotWorseRule(GateRule):
    """The 95 % interval of the loss does not lie above 0."""

    metric: str = Field(description="Metric with a better direction.")

    def check(self, name: str, evidence: GateEvidence) -> RuleResult:
        """Compare the smallest loss of the interval with 0."""
        row = evidence.row(self.evaluation, self.metric)
        if row is None or not row.better or row.loss_bounds is None:
            return self.missing(name, f"a loss of '{self.metric}'")
        smallest_loss = row.loss_bounds[0]
        verdict = "is not clearly worse" if smallest_loss <= 0 else "is worse"
        return RuleResult(
            name, smallest_loss <= 0, smallest_loss, 0.0, f"{row.label} {verdict}: {describe_change(row)}"
        )
