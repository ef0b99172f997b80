"""Runs all checks in order."""

from collections.abc import Callable, Mapping, Sequence

from pydantic import Field

from turnwise.core.collected_answers import CollectedAnswer
from turnwise.core.strict_model import StrictModel
from turnwise.improve.screening import (
    contributor_share,
    degenerate_corrections,
    label_flips,
    rater_agreement,
)
from turnwise.improve.screening.contradictory_ratings import MIN_AGREEMENT, resolve_contradictions
from turnwise.improve.screening.duplicates import drop_duplicates
from turnwise.improve.screening.screened import Screened, ScreeningReport, build_report
from turnwise.improve.screening.trigger_phrases import drop_trigger_phrases


class ScreeningSettings(StrictModel):
    """Limits of the screening; the functions of the checks explain them."""

    max_contributor_share: float = Field(default=contributor_share.MAX_SHARE, gt=0, le=1)
    min_contributor_entries: int = Field(default=contributor_share.MIN_ENTRIES, ge=1)
    min_agreement: float = Field(default=MIN_AGREEMENT, ge=0.5, le=1)
    min_probability_below_chance: float = Field(default=rater_agreement.MIN_PROBABILITY, ge=0.5, lt=1)
    max_flip_p_value: float = Field(default=label_flips.MAX_P_VALUE, gt=0, lt=1)
    max_characters: int = Field(default=degenerate_corrections.MAX_CHARACTERS, ge=1)


def screen_answers(
    answers: Sequence[CollectedAnswer],
    scores: Mapping[str, float] | None = None,
    settings: ScreeningSettings | None = None,
) -> tuple[tuple[CollectedAnswer, ...], ScreeningReport]:
    """Return the answers with the feedback that may be learned, and counts of what was dropped.

    Useless entries go first, since they would distort the comparison of contributors. Contributors who poison go, and
    the share of a contributor is bounded, before their ratings outvote those of others. The share is bounded once more
    at the end, of what remains.

    Args:
        answers: rated or corrected answers.
        scores: reference score by id of the answer, for label flips (`label_flips.py`); None skips this check.
        settings: limits. Default: those of the checks.
    """
    limits = settings or ScreeningSettings()

    def bound_share(remaining: Sequence[CollectedAnswer]) -> Screened:
        return contributor_share.bound_contributor_share(
            remaining, limits.max_contributor_share, limits.min_contributor_entries
        )

    checks: list[Callable[[Sequence[CollectedAnswer]], Screened]] = [
        lambda remaining: degenerate_corrections.drop_degenerate_corrections(remaining, limits.max_characters),
        drop_trigger_phrases,
        drop_duplicates,
        lambda remaining: label_flips.exclude_label_flips(remaining, scores or {}, limits.max_flip_p_value),
        lambda remaining: rater_agreement.exclude_disagreeing_contributors(
            remaining, limits.min_probability_below_chance
        ),
        bound_share,
        lambda remaining: resolve_contradictions(remaining, limits.min_agreement),
        bound_share,
    ]
    total = Screened(tuple(answers))
    for check in checks:
        result = check(total.answers)
        total = Screened(result.answers, total.dropped + result.dropped, total.phrases + result.phrases)
    return total.answers, build_report(answers, total)
