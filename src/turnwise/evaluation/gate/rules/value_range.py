"""A value of the candidate has to lie in a range, such as the length of its answers."""

from typing import Self

from pydantic import Field, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.evaluation.gate.evidence import GateEvidence
from turnwise.evaluation.gate.rule import GateRule, RuleResult
from turnwise.evaluation.gate.wording import describe_change


class ValueRangeRule(GateRule):
    """The value is in the range, or at least as near to it as that of the serving model."""

    metric: str = Field(description="The metric.")
    low: float = Field(description="Smallest value.")
    high: float = Field(description="Largest value.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.low <= self.high:
            raise InvalidParameter("low", f"'low' must be at most 'high', got {self.low:g} and {self.high:g}.")
        return self

    def check(self, name: str, evidence: GateEvidence) -> RuleResult:
        """Compare the distances of both systems from the range."""
        row = evidence.row(self.evaluation, self.metric)
        if row is None or row.value is None or row.base_value is None:
            return self.missing(name, f"'{self.metric}'")
        limit = self.high if row.value > self.high else self.low
        has_passed = self._distance(row.value) <= self._distance(row.base_value) or self._distance(row.value) == 0
        bounds = f"{self.low:{row.value_format}} to {self.high:{row.value_format}}"
        sentence = f"{row.label}: {describe_change(row)} (allowed {bounds})"
        return RuleResult(name, has_passed, row.value, limit, sentence)

    def _distance(self, value: float) -> float:
        return max(self.low - value, value - self.high, 0.0)
