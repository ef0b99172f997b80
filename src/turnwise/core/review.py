"""Review of answers by people: the queue, verdicts, and the agreement of reviewers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from turnwise.core.collected_answers import CollectedAnswer

ReviewReason = Literal["disagreement", "disliked", "uncertain", "off_topic"]
REVIEW_REASONS: tuple[ReviewReason, ...] = get_args(ReviewReason)  # the most urgent first
REVIEWS_PER_ANSWER = 2  # agreement needs two reviewers; a third one decides if they disagree
MAX_UNCERTAIN_LOGPROB = -1.0  # mean over the tokens of an answer, in nats; above it, the model is not uncertain


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """An answer that waits for a verdict.

    Attributes:
        answer: the answer with its history and feedback.
        reason: why it is in the queue.
        num_reviews: number of reviewers who have given a verdict.
        mean_logprob: mean log-probability of its tokens; None if it was not recorded.
    """

    answer: CollectedAnswer
    reason: ReviewReason
    num_reviews: int = 0
    mean_logprob: float | None = None


@dataclass(frozen=True, slots=True)
class ReviewAgreement:
    """Agreement of two reviewers on the answers that both have rated.

    Attributes:
        reviewers: contributor ids.
        num_answers: number of answers that both have rated.
        share: share of them with equal ratings.
        kappa: Cohen's kappa; None if it is not defined, because both always gave the same one rating.
    """

    reviewers: tuple[str, str]
    num_answers: int
    share: float
    kappa: float | None


class ReviewQueue(Protocol):
    """Answers that people should look at. Part of a `ConversationStore`, with its principal.

    Only answers with the consent "full" are in it. A verdict is feedback with the role "reviewer".
    """

    def next(self, reviewer: str | None, *, limit: int = 20) -> Sequence[ReviewItem]:
        """Answers that the reviewer has not rated, in the order of `REVIEW_REASONS`.

        Of each reason, the newest come first; of uncertain answers, those with the lowest log-probability.

        Args:
            reviewer: name of the reviewer within the API key.
            limit: maximum number of answers.
        """

    def agreement(self) -> Sequence[ReviewAgreement]:
        """Agreement of each two reviewers who have rated the same answers."""


def measure_agreement(reviewers: tuple[str, str], ratings: Iterable[tuple[int, int]]) -> ReviewAgreement:
    """Agreement on the ratings of two reviewers, one pair for each answer.

    Cohen's kappa (1960) is (observed - expected) / (1 - expected) agreement; the expected one is that of independent
    reviewers with the same shares of ratings.

    Raises:
        ValueError: there are no ratings.
    """
    pairs = list(ratings)
    if not pairs:
        raise ValueError("agreement needs at least one pair of ratings")
    total = len(pairs)
    observed = sum(first == second for first, second in pairs) / total
    counts = [Counter(pair[side] for pair in pairs) for side in range(2)]
    expected = sum(counts[0][rating] * counts[1][rating] for rating in counts[0]) / total**2
    kappa = None if expected == 1.0 else (observed - expected) / (1.0 - expected)
    return ReviewAgreement(reviewers, total, observed, kappa)
