"""Base class of the rules of the gate."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pydantic import Field

from turnwise.core.strict_model import StrictModel
from turnwise.evaluation.gate.evidence import HELD_OUT, GateEvidence


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Outcome of one rule.

    Attributes:
        name: name of the rule in the file of rules.
        has_passed: True if the candidate keeps the rule.
        observed: the observed figure; None if it was not measured.
        limit: the limit that it was compared with; None if it was not measured.
        sentence: the outcome in words, a clause that fits after "Refused:".
    """

    name: str
    has_passed: bool
    observed: float | None
    limit: float | None
    sentence: str


class GateRule(StrictModel, ABC):
    """A kind of rule; its fields are the keys of a rule in the file of rules.

    Attributes:
        evaluation: name of the evaluation that it reads.
        optional: True: a figure that was not measured does not fail the rule.
    """

    evaluation: str = Field(default=HELD_OUT, description="Evaluation whose figures are read.")
    optional: bool = Field(default=False, description="Pass if the figure was not measured.")

    @abstractmethod
    def check(self, name: str, evidence: GateEvidence) -> RuleResult:
        """Apply the rule. `name`: its name in the file of rules."""

    def missing(self, name: str, figure: str) -> RuleResult:
        """The outcome if a figure was not measured."""
        origin = "" if self.evaluation == HELD_OUT else f" in the evaluation '{self.evaluation}'"
        return RuleResult(name, self.optional, None, None, f"{figure} was not measured{origin}")
