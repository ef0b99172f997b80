"""Excludes contributors whose ratings are the opposite of a reference score."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from scipy import stats

from turnwise.core.collected_answers import CollectedAnswer
from turnwise.improve.screening.screened import Screened, drop_contributors, latest_ratings

MAX_P_VALUE = 0.005
MIN_RATINGS = 8


def exclude_label_flips(
    answers: Sequence[CollectedAnswer],
    scores: Mapping[str, float],
    max_p_value: float = MAX_P_VALUE,
    min_ratings: int = MIN_RATINGS,
) -> Screened:
    """Drop all feedback of contributors who rate answers with high scores worse than answers with low scores.

    Args:
        answers: the answers.
        scores: a score by id of the answer, higher is better: the mean log-likelihood under the serving model, or the
            mean rating by others. Answers without a score are not used.
        max_p_value: largest one-sided p-value of the Mann-Whitney test (Mann and Whitney 1947) that excludes.
        min_ratings: contributors with fewer ratings are not tested.
    """
    by_value: dict[str, dict[int, list[float]]] = defaultdict(lambda: {1: [], -1: []})
    for answer in answers:
        if answer.id in scores:
            for contributor, rating in latest_ratings(answer).items():
                by_value[contributor][1 if rating.value > 0 else -1].append(scores[answer.id])
    flipped = {
        contributor
        for contributor, values in by_value.items()
        if len(values[1]) + len(values[-1]) >= min_ratings and _p_value(values[1], values[-1]) <= max_p_value
    }
    return drop_contributors(answers, flipped, "label_flips")


def _p_value(good: Sequence[float], bad: Sequence[float]) -> float:
    """P-value of "answers rated good have no lower scores than answers rated bad"."""
    if not good or not bad or len({*good, *bad}) == 1:
        return 1.0
    return float(stats.mannwhitneyu(good, bad, alternative="less").pvalue)
