"""The candidate may lose at most so much on a metric."""

from typing import Self

from pydantic import Field, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.evaluation.gate.evidence import GateEvidence
from turnwise.evaluation.gate.rule import GateRule, RuleResult
from turnwise.evaluation.gate.wording import describe_change


class MaxLossRule(GateRule):
    """The loss is at most a limit, and the end of its 95 % interval at most a second limit.

    The first limit alone would let a large loss pass by luck, if it is measured on few dialogues. The interval's end
    within the first limit would refuse most candidates that lost nothing.
    """

    metric: str = Field(description="Metric with a better direction.")
    max_loss: float | None = Field(default=None, ge=0, description="Largest loss, in units of the metric.")
    max_relative_loss: float | None = Field(default=None, ge=0, description="Or relative to the serving model's value.")
    max_bound: float | None = Field(
        default=None, ge=0, description="Largest end of the loss's 95% interval, in the unit of the limit."
    )

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if (self.max_loss is None) == (self.max_relative_loss is None):
            raise InvalidParameter("max_loss", "set either 'max_loss' or 'max_relative_loss', the other one to null.")
        return self

    def check(self, name: str, evidence: GateEvidence) -> RuleResult:
        """Compare the loss, then the end of its interval."""
        row = evidence.row(self.evaluation, self.metric)
        if row is None or row.loss is None or not row.better or row.base_value is None:
            return self.missing(name, f"a loss of '{self.metric}'")
        is_relative = self.max_relative_loss is not None
        if is_relative and row.base_value <= 0:
            return self.missing(name, f"a relative loss of '{self.metric}'")
        unit = row.base_value if is_relative else 1.0
        limit = self.max_relative_loss if self.max_relative_loss is not None else self.max_loss
        assert limit is not None, "one of the two limits is set"
        format = ".2%" if is_relative or row.value_format.endswith("%") else row.value_format
        loss = row.loss / unit
        change = f"{row.label} {'lost' if loss > 0 else 'did not lose'}: {describe_change(row)}"
        sentence = f"{change} (loss {loss:{format}}, allowed {limit:{format}})"
        if loss > limit or self.max_bound is None:
            return RuleResult(name, loss <= limit, loss, limit, sentence)
        if row.loss_bounds is None:
            return self.missing(name, f"an interval of the loss of '{self.metric}'")
        bound = row.loss_bounds[1] / unit
        if bound > self.max_bound:
            sentence = f"{row.label} may have lost {bound:{format}} (allowed {self.max_bound:{format}})"
            return RuleResult(name, False, bound, self.max_bound, f"{sentence}: more dialogues would tell")
        return RuleResult(name, True, loss, limit, sentence)
