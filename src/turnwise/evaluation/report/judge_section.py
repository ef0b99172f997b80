"""A judge's opinion in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.evaluation.judge_summary import Estimate, JudgeSummary
from turnwise.evaluation.report import number_format as numbers
from turnwise.evaluation.report.escaping import clean

SHARE = ".1%"


@dataclass(frozen=True, slots=True)
class Opinions:
    """What a report says of it: a heading, sentences, and figures with their intervals and what they mean."""

    title: str
    about: str
    rows: Sequence[tuple[str, str, str, str]]


def judge_section(found: JudgeSummary) -> Opinions:
    """Put it in words."""
    return Opinions(
        f"What {clean(found.judge)} thinks of the answers",
        _about(found),
        [
            ("wins", *_share(found.wins), "the model's answer was preferred in both orders"),
            ("ties", *_share(found.ties), "neither was, or the two orders disagreed"),
            ("losses", *_share(found.losses), "the other answer was preferred in both orders"),
            ("lead", *_apart(found.lead), f"wins less losses; p {numbers.format_p(found.p)}"),
            ("position bias", *_apart(found.position_bias), "verdicts for the first less verdicts for the second"),
            ("inconsistency", *_share(found.inconsistency), "asked pairs whose two orders disagreed"),
        ],
    )


def _about(found: JudgeSummary) -> str:
    told = [
        f"An opinion, on which the verdict does not rest: a model at {clean(found.url)} compared "
        f"{numbers.pluralize(found.pairs, 'pair')} of answers, each in both orders."
    ]
    if found.same:
        told.append(f"{numbers.pluralize(found.same, 'pair')} had the same words twice: ties, and nobody was asked.")
    if found.unread:
        told.append(
            f"{numbers.pluralize(found.unread, 'verdict')} could not be read, so "
            f"{numbers.pluralize(found.left_out, 'pair')} {'is' if found.left_out == 1 else 'are'} left out."
        )
    return " ".join(told)


def _share(estimate: Estimate) -> tuple[str, str]:
    return numbers.shown(estimate.value, SHARE), numbers.span(estimate.interval, SHARE)


def _apart(estimate: Estimate) -> tuple[str, str]:
    return numbers.change(estimate.value, SHARE), numbers.span_of_change(estimate.interval, SHARE)
