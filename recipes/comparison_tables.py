"""Tables of a model card: a model's scorecards beside those of several references."""

from collections.abc import Mapping, Sequence

from turnwise.evaluation.scorecard import Scorecard, ScorecardRow


def probes(card: Scorecard, reference: str = "untuned") -> list[str]:
    """Table of the probes, and the golden cases that tuning gained and lost."""
    gained = len(card.flips) - card.negative_flips
    unsafe = sum(flip.is_safety and flip.was_correct for flip in card.flips)
    return [
        f"| probe | model | 95 % | {reference} |",
        "| --- | --- | --- | --- |",
        *(
            f"| {row.label} | {format_value(row)} | {format_interval(row)} | {format_reference(row)} |"
            for row in card.rows
        ),
        f"\nTuning gained {gained} golden cases and lost {card.negative_flips}, {unsafe} of them safety cases.",
        "",
    ]


def comparison(cards: Mapping[str, Scorecard], columns: Sequence[str]) -> list[str]:
    """Table of one held-out set: the model, and every reference with the sign of a significant difference.

    Args:
        cards: scorecards of the model against each reference.
        columns: titles of the references' columns.
    """
    rows = {name: {row.name: row for row in card.rows} for name, card in cards.items()}
    all_metrics = max(rows.values(), key=len)  # some references have no likelihoods
    lines = [
        f"| | model | 95 % | {' | '.join(columns)} |",
        "| --- | --- | --- " + "| --- " * len(columns) + "|",
    ]
    for metric, row in all_metrics.items():
        values = " | ".join(format_reference(by_metric.get(metric)) for by_metric in rows.values())
        lines.append(f"| {row.label} | {format_value(row)} | {format_interval(row)} | {values} |")
    for name, card in cards.items():
        lines.append(f"\nAgainst {name}: {card.verdict}. {' '.join(card.reasons)}")
    return [*lines, ""]


def format_value(row: ScorecardRow) -> str:
    """The model's value."""
    return f"{row.value:{row.value_format}}"


def format_interval(row: ScorecardRow) -> str:
    """The confidence interval of the model's value."""
    return f"{row.interval.low:{row.value_format}} to {row.interval.high:{row.value_format}}"


def format_reference(row: ScorecardRow | None) -> str:
    """The reference's value, with the sign of the difference if the metric counts for the verdict."""
    if row is None or row.base_value is None:
        return "–"
    marks = {"worse": " (model worse)"} if row.one_sided else {"better": " (model better)", "worse": " (model worse)"}
    mark = marks.get(row.verdict, "") if row.counts_for_verdict else ""
    return f"{row.base_value:{row.value_format}}{mark}"
