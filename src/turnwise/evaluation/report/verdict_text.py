"""The verdict in words, and what it rests on."""

from collections.abc import Sequence

from turnwise.evaluation.report.number_format import pluralize
from turnwise.evaluation.scorecard import ALPHA, Scorecard, ScorecardRow, Verdict
from turnwise.evaluation.statistics import CONFIDENCE_LEVEL, NUM_RESAMPLES

MARKS = {"better": "✓", "worse": "✗", "mixed": "±", "no difference": "≈"}
_STARTS: dict[Verdict, str] = {"better": "", "worse": "Worse: ", "mixed": "Mixed: ", "no difference": "No difference: "}


def headline(card: Scorecard) -> str:
    """The verdict in one line."""
    if not is_compared(card):
        return "No verdict: nothing was compared"
    if card.verdict is None or not _compared(card):
        return "No verdict: nothing that it could rest on was measured"
    start, reason = _STARTS[card.verdict], card.reasons[0].rstrip(".")
    line = start + reason[:1].lower() + reason[1:] if start else reason
    return f"{line}. Sure: {'no' if card.verdict == 'no difference' else 'yes'}"


def basis(card: Scorecard) -> list[str]:
    """What that rests on, in sentences."""
    sentences = [
        f"Measured on {_dialogues(card.rows)}, {_seeds(card.rows)}. "
        f"Of 100 such intervals {100 * CONFIDENCE_LEVEL:.0f} hold the figure for all "
        f"dialogues of the kind (whole dialogues resampled {NUM_RESAMPLES:,} times)."
    ]
    compared = len(_compared(card))
    if compared:
        tried = f"the {compared} judged metrics" if compared > 1 else "the one judged metric"
        sentences.append(
            f"A difference counts where so large a one would come by chance, if it did not matter which model is "
            f"which, less than {ALPHA:.0%} of the time, corrected for {tried} (exchange test; Holm 1979): the chance "
            f"that even one of them is called changed and is not is below {ALPHA:.0%}."
        )
    if compared and card.verdict == "no difference":
        sentences.append(
            "That none was found does not show that there is none: more dialogues would show smaller ones."
        )
    return sentences


def is_compared(card: Scorecard) -> bool:
    """Whether there is a base; there may be no verdict even so, where nothing judged was measured."""
    return any(line.base_value is not None for line in card.rows)


def _compared(card: Scorecard) -> list[ScorecardRow]:
    return [line for line in card.rows if line.counts_for_verdict and line.adjusted_p_value is not None]


def _dialogues(lines: Sequence[ScorecardRow]) -> str:
    counts = sorted({line.num_dialogues for line in lines})
    if len(counts) < 2:
        return pluralize(counts[0] if counts else 0, "dialogue")
    return f"{counts[0]:,} to {counts[-1]:,} dialogues or written probes a metric"


def _seeds(lines: Sequence[ScorecardRow]) -> str:
    seeds = max((len(line.values_by_seed) for line in lines), default=1)
    return f"every answer drawn with {pluralize(seeds, 'seed')}" if seeds > 1 else "with one seed"
