"""Excludes contributors whose ratings agree with those of others less often than by chance."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from turnwise.core.collected_answers import CollectedAnswer
from turnwise.improve.screening.answer_groups import group_answers
from turnwise.improve.screening.screened import Screened, drop_contributors, latest_ratings

MIN_PROBABILITY = 0.99  # that the agreement is below chance

Votes = Mapping[int, Mapping[str, int]]
"""Ratings by group of answers and by contributor."""


@dataclass(frozen=True, slots=True)
class RaterAgreement:
    """Agreement of a contributor with the majority of the others, on answers that others rated too.

    Attributes:
        agreed, compared: answers on which they agree, and all.
        chance: agreement that two raters with the same shares of good ratings would have by chance, as in Cohen's
            kappa; at most 1/2, since raters who nearly always give the same rating agree nearly always by chance.
    """

    agreed: int
    compared: int
    chance: float

    @property
    def probability_below_chance(self) -> float:
        """Posterior probability that the true agreement is below chance, with a uniform prior (a beta distribution)."""
        return float(stats.beta.cdf(self.chance, 1 + self.agreed, 1 + self.compared - self.agreed))


def exclude_disagreeing_contributors(
    answers: Sequence[CollectedAnswer], min_probability: float = MIN_PROBABILITY
) -> Screened:
    """Drop all feedback of contributors who agree with others clearly less often than by chance.

    The one with the lowest agreement is excluded first, and the others are then compared without those ratings: a few
    contributors who flip labels would otherwise make honest ones look bad.
    """
    votes: dict[int, dict[str, int]] = defaultdict(dict)
    for answer, group in zip(answers, group_answers(answers), strict=True):
        votes[group].update({contributor: rating.value for contributor, rating in latest_ratings(answer).items()})
    excluded: set[str] = set()
    while True:
        agreements = rater_agreements(votes)
        probabilities = {name: agreement.probability_below_chance for name, agreement in agreements.items()}
        worst = max(probabilities, key=lambda name: (probabilities[name], name), default=None)
        if worst is None or probabilities[worst] < min_probability:
            return drop_contributors(answers, excluded, "disagrees_with_others")
        excluded.add(worst)
        for ratings in votes.values():
            ratings.pop(worst, None)


def rater_agreements(votes: Votes) -> dict[str, RaterAgreement]:
    """Agreement of every contributor who rated an answer that others rated without a tie."""
    pairs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for ratings in votes.values():
        total = sum(ratings.values())
        for contributor, value in ratings.items():
            if rest := total - value:
                pairs[contributor].append((value, 1 if rest > 0 else -1))
    return {contributor: _agreement(compared) for contributor, compared in pairs.items()}


def _agreement(pairs: Sequence[tuple[int, int]]) -> RaterAgreement:
    count = len(pairs)
    positive, others_positive = (sum(pair[side] > 0 for pair in pairs) / count for side in (0, 1))
    chance = positive * others_positive + (1 - positive) * (1 - others_positive)
    return RaterAgreement(sum(value == majority for value, majority in pairs), count, min(0.5, chance))
