"""The verdict of a scorecard as text, and the statistics behind it."""

from collections.abc import Sequence

from turnwise.core.plurals import pluralize
from turnwise.evaluation.scorecard import ALPHA, Scorecard, ScorecardRow, Verdict
from turnwise.evaluation.statistics import CONFIDENCE_LEVEL, NUM_RESAMPLES

VERDICT_MARKS = {"better": "✓", "worse": "✗", "mixed": "±", "no difference": "≈"}
_PREFIXES: dict[Verdict, str] = {
    "better": "",
    "worse": "Worse: ",
    "mixed": "Mixed: ",
    "no difference": "No difference: ",
}


def headline(scorecard: Scorecard) -> str:
    """Return the verdict in one line."""
    if not has_base(scorecard):
        return "No verdict: there is no base to compare with"
    if scorecard.verdict is None or not _tested_rows(scorecard):
        return "No verdict: no metric that counts for it was measured"
    prefix, reason = _PREFIXES[scorecard.verdict], scorecard.reasons[0].rstrip(".")
    sentence = prefix + reason[:1].lower() + reason[1:] if prefix else reason
    return f"{sentence}. Significant: {'no' if scorecard.verdict == 'no difference' else 'yes'}"


def verdict_basis(scorecard: Scorecard, unit: str = "dialogue") -> list[str]:
    """Return sentences about sample size, intervals and tests.

    Args:
        scorecard: the scorecard.
        unit: what is counted: "dialogue", or "text" or "sentence" of a classifier.
    """
    seeds = f", {_num_seeds(scorecard.rows)}" if unit == "dialogue" else ""
    sentences = [
        f"Measured on {_num_items(scorecard.rows, unit)}{seeds}. "
        f"Intervals are {CONFIDENCE_LEVEL:.0%} confidence intervals ({unit}s resampled {NUM_RESAMPLES:,} times)."
    ]
    num_tests = len(_tested_rows(scorecard))
    if num_tests:
        tests = f"the {num_tests} metrics that count for the verdict" if num_tests > 1 else "one metric"
        sentences.append(
            f"A difference is significant if its p-value is below {ALPHA:.0%} after correction for {tests} "
            f"(permutation test; Holm 1979): if nothing changed, the probability of any significant difference "
            f"is below {ALPHA:.0%}."
        )
    if num_tests and scorecard.verdict == "no difference":
        sentences.append(
            f"This does not show that the models are equal: with more {unit}s, smaller differences become significant."
        )
    return sentences


def has_base(scorecard: Scorecard) -> bool:
    """Return whether two systems are compared; if no metric counts for the verdict, there is none all the same."""
    return any(row.base_value is not None for row in scorecard.rows)


def _tested_rows(scorecard: Scorecard) -> list[ScorecardRow]:
    return [row for row in scorecard.rows if row.counts_for_verdict and row.adjusted_p_value is not None]


def _num_items(rows: Sequence[ScorecardRow], unit: str) -> str:
    counts = sorted({row.num_dialogues for row in rows})
    if len(counts) < 2:
        return pluralize(counts[0] if counts else 0, unit)
    return f"{counts[0]:,} to {counts[-1]:,} {unit}s or probes per metric"


def _num_seeds(rows: Sequence[ScorecardRow]) -> str:
    seeds = max((len(row.values_by_seed) for row in rows), default=1)
    return f"each answer sampled with {pluralize(seeds, 'seed')}" if seeds > 1 else "with one seed"
