"""What stands in a report, whichever way it is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnwise.evaluation.metric_runner import MetricResult
from turnwise.evaluation.report import number_format as numbers
from turnwise.evaluation.report.escaping import clean
from turnwise.evaluation.report.example_dialogues import Examples, Turns, examples
from turnwise.evaluation.report.judge_section import Opinions, judge_section
from turnwise.evaluation.report.svg import Picture
from turnwise.evaluation.report.verdict_text import MARKS, basis, headline, is_compared
from turnwise.evaluation.scorecard import Flip, Scorecard, ScorecardRow

WAYS = {"higher": "↑ higher is better", "lower": "↓ lower is better", "": ""}


@dataclass(frozen=True, slots=True)
class Row:
    """A metric, all in words; `base`, `difference`, `p` are empty where nothing is compared."""

    name: str
    label: str
    about: str
    way: str
    dialogues: str
    model: str
    model_span: str
    base: str
    base_span: str
    difference: str
    difference_span: str
    p: str
    counts: str
    mark: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Change:
    """A golden case that came out otherwise."""

    case: str
    outcome: str
    lost: bool
    history: Turns
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Page:
    """A report; `verdict` is "" where nothing is compared."""

    title: str
    model: str
    base: str
    verdict: str
    mark: str
    headline: str
    reasons: Sequence[str]
    basis: Sequence[str]
    changes: Sequence[Change]
    judged: Sequence[Row]
    others: Sequence[Row]
    pictures: Sequence[Picture]
    examples: Examples
    about: Sequence[tuple[str, str]]
    judged_by: Opinions | None = None
    compared: bool = False


def page_of(
    card: Scorecard,
    model: Mapping[str, MetricResult],
    base: Mapping[str, MetricResult] | None,
    pictures: Sequence[Picture],
) -> Page:
    """Put a report together."""
    name, other = _name(card.metadata.get("model"), "the model"), _name(card.metadata.get("base"), "the base")
    if name == other:  # one model with other settings, say
        other = f"{other} (base)"
    rows = [(line.counts_for_verdict, _row(line)) for line in card.rows]
    return Page(
        title=f"Evaluation of {name}" + (f" against {other}" if is_compared(card) else ""),
        model=name,
        base=other,
        verdict=card.verdict or "",
        mark=MARKS.get(card.verdict or "", ""),
        headline=headline(card),
        reasons=card.reasons[1:],
        basis=basis(card),
        changes=[_change(flip) for flip in card.flips],
        judged=[row for judged, row in rows if judged],
        others=[row for judged, row in rows if not judged],
        pictures=pictures,
        examples=examples(model, base),
        about=list(_flat(card.metadata)),
        judged_by=None if card.judge is None else judge_section(card.judge),
        compared=is_compared(card),
    )


def _row(line: ScorecardRow) -> Row:
    form, exact = line.value_format, line.mcnemar
    counts = f"{exact.gained} gained, {exact.lost} lost; McNemar's p {numbers.format_p(exact.p_value)}" if exact else ""
    return Row(
        line.name,
        line.label,
        line.description,
        WAYS[line.better],
        f"{line.num_dialogues:,}",
        numbers.shown(line.value, form),
        numbers.span(line.interval, form),
        numbers.shown(line.base_value, form),
        numbers.span(line.base_interval, form),
        numbers.change(line.difference, form),
        numbers.span_of_change(line.difference_interval, form),
        numbers.format_p(line.adjusted_p_value if line.counts_for_verdict else line.p_value),
        counts,
        MARKS.get(line.verdict, numbers.NOTHING),
        line.verdict,
    )


def _change(flip: Flip) -> Change:
    outcome = "right before, wrong now" if flip.was_correct else "wrong before, right now"
    return Change(
        clean(flip.case_id),
        f"{clean(flip.kind)}{', safety' if flip.is_safety and flip.kind != 'safety' else ''}: {outcome}",
        flip.was_correct,
        tuple((clean(role), clean(content)) for role, content in flip.history),
        clean(flip.base_answer),
        clean(flip.answer),
    )


def _name(known: Any, otherwise: str) -> str:
    """What to call one of them, from its name or all that is known of it."""
    found = known.get("name") if isinstance(known, Mapping) else known
    return clean(str(found or otherwise))


def _flat(about: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their names, those within others after a dot."""
    for key, value in about.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, list | tuple):
            yield clean(f"{above}{key}"), clean(", ".join(str(each) for each in value))
        elif value is not None:
            yield clean(f"{above}{key}"), clean(str(value))
