"""The judge's summary as text and table rows, for the report and the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.core.plurals import pluralize
from turnwise.evaluation.judge_summary import Estimate, JudgeSummary
from turnwise.evaluation.report import number_format as numbers
from turnwise.evaluation.report.escaping import clean

SHARE_FORMAT = ".1%"


@dataclass(frozen=True, slots=True)
class JudgeSection:
    """A title, a description, and rows of name, value, interval and explanation."""

    title: str
    description: str
    rows: Sequence[tuple[str, str, str, str]]


def judge_section(summary: JudgeSummary) -> JudgeSection:
    """Format a judge's summary."""
    return JudgeSection(
        f"Preferences of the judge {clean(summary.judge)}",
        _description(summary),
        [
            ("wins", *_share(summary.wins), "the model's answer won in both orders"),
            ("ties", *_share(summary.ties), "neither answer won in both orders"),
            ("losses", *_share(summary.losses), "the base's answer won in both orders"),
            ("lead", *_difference(summary.lead), f"wins minus losses; p {numbers.format_p_value(summary.p_value)}"),
            (
                "position bias",
                *_difference(summary.position_bias),
                "verdicts for the first answer minus verdicts for the second",
            ),
            ("inconsistency", *_share(summary.inconsistency), "share of judged pairs whose two orders disagree"),
        ],
    )


def _description(summary: JudgeSummary) -> str:
    sentences = [
        f"The verdict does not depend on this. The judge at {clean(summary.url)} compared "
        f"{pluralize(summary.num_pairs, 'pair')} of answers, each in both orders."
    ]
    if summary.num_identical:
        pairs = pluralize(summary.num_identical, "pair")
        sentences.append(f"{pairs} had identical answers; they count as ties without a request to the judge.")
    if summary.num_invalid_verdicts:
        outputs = pluralize(summary.num_invalid_verdicts, "output")
        pairs = pluralize(summary.num_excluded_pairs, "pair")
        sentences.append(f"{outputs} of the judge had no verdict, which excludes {pairs}.")
    return " ".join(sentences)


def _share(estimate: Estimate) -> tuple[str, str]:
    return (
        numbers.format_value(estimate.value, SHARE_FORMAT),
        numbers.format_interval(estimate.interval, SHARE_FORMAT),
    )


def _difference(estimate: Estimate) -> tuple[str, str]:
    return (
        numbers.format_difference(estimate.value, SHARE_FORMAT),
        numbers.format_difference_interval(estimate.interval, SHARE_FORMAT),
    )
