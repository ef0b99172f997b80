"""The contents of the report on a chat model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnwise.evaluation.flips import Flip
from turnwise.evaluation.metric_runner import MetricResult
from turnwise.evaluation.report.escaping import clean
from turnwise.evaluation.report.example_dialogues import ExampleDialogues, ShownMessages, select_dialogues
from turnwise.evaluation.report.judge_section import JudgeSection, judge_section
from turnwise.evaluation.report.page import ReportPage, shared_contents
from turnwise.evaluation.report.svg import ReportFigure
from turnwise.evaluation.scorecard import Scorecard


@dataclass(frozen=True, slots=True)
class FlippedCase:
    """A golden case whose outcome changed between the base and the model."""

    case_id: str
    outcome: str
    is_regression: bool
    history: ShownMessages
    base_answer: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class ChatReportPage(ReportPage):
    """A report on a chat model: golden cases that changed, examples, and the judge's summary if there is one."""

    flips: Sequence[FlippedCase]
    examples: ExampleDialogues
    judge: JudgeSection | None


def build_chat_page(
    scorecard: Scorecard,
    model: Mapping[str, MetricResult],
    base: Mapping[str, MetricResult] | None,
    figures: Sequence[ReportFigure],
) -> ChatReportPage:
    """Build the contents of a report."""
    return ChatReportPage(
        **shared_contents(scorecard, figures),
        flips=[_flipped_case(flip) for flip in scorecard.flips],
        examples=select_dialogues(model, base),
        judge=None if scorecard.judge is None else judge_section(scorecard.judge),
    )


def _flipped_case(flip: Flip) -> FlippedCase:
    outcome = "passed before, fails now" if flip.was_correct else "failed before, passes now"
    if flip.pass_rate is not None and flip.base_pass_rate is not None:
        outcome = f"{outcome} (sampled answers that pass: {flip.base_pass_rate:.0%} before, {flip.pass_rate:.0%} now)"
    safety = ", safety" if flip.is_safety and flip.kind != "safety" else ""
    return FlippedCase(
        clean(flip.case_id),
        f"{clean(flip.kind)}{safety}: {outcome}",
        flip.was_correct,
        tuple((clean(role), clean(content)) for role, content in flip.history),
        clean(flip.base_answer),
        clean(flip.answer),
    )
