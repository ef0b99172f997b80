"""Golden cases whose outcome differs between two systems."""

from collections.abc import Mapping
from dataclasses import dataclass

from turnwise.evaluation.metric import MetricSums
from turnwise.evaluation.metric_runner import MetricResult


@dataclass(frozen=True)
class Flip:
    """A golden case that only one of the two systems passes.

    Attributes:
        case_id, kind, is_safety: see `GoldenCase`.
        was_correct: True if the base passes and the model fails (a negative flip).
        history: role and text of the messages that both answered.
        base_answer, answer: answers of the base and of the model.
        base_pass_rate, pass_rate: shares of further, sampled answers that pass (`flip_confirmation.py`); None: not
            measured.
        is_confirmed: True if the model passes the case clearly less often; None: not measured.
    """

    case_id: str
    kind: str
    is_safety: bool
    was_correct: bool
    history: tuple[tuple[str, str], ...]
    base_answer: str
    answer: str
    base_pass_rate: float | None = None
    pass_rate: float | None = None
    is_confirmed: bool | None = None

    @property
    def is_loss(self) -> bool:
        """True for a negative flip that further answers do not contradict."""
        return self.was_correct and self.is_confirmed is not False


def find_flips(model: Mapping[str, MetricSums], base: Mapping[str, MetricSums]) -> tuple[Flip, ...]:
    """Golden cases whose outcome changed: lost ones first, among them safety cases first."""
    new, old = model.get("golden"), base.get("golden")
    if not isinstance(new, MetricResult) or not isinstance(old, MetricResult):
        return ()
    new_results, old_results = new.results_by_seed[0], old.results_by_seed[0]
    is_right_I = new.metric.statistics(new.samples, new_results)[:, 0]
    was_right_I = old.metric.statistics(old.samples, old_results)[:, 0]
    flips = [
        Flip(
            case_id=str(sample.metadata["id"]),
            kind=str(sample.metadata["kind"]),
            is_safety=bool(sample.metadata["safety"]),
            was_correct=bool(was_right),
            history=tuple((message.role, message.content) for message in sample.generation_queries[0].history),
            base_answer=before.outputs[0].text,
            answer=after.outputs[0].text,
        )
        for sample, is_right, was_right, after, before in zip(
            new.samples, is_right_I, was_right_I, new_results, old_results, strict=True
        )
        if is_right != was_right
    ]
    return tuple(sorted(flips, key=lambda flip: (not flip.was_correct, not flip.is_safety, flip.case_id)))
