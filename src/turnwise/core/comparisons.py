"""Comparisons of two answers: which one a person prefers, scores of the models, and the port of their store."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from turnwise.core.binomial_interval import wilson_interval
from turnwise.core.collected_answers import Consent
from turnwise.core.errors import InvalidParameter
from turnwise.core.feedback import AnswerReference

Verdict = Literal["left", "right", "equal", "both_bad"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MAX_LABEL_CHARS = 40
_LABEL = re.compile(r"[\w.+-]+(?: [\w.+-]+)*")


@dataclass(frozen=True, slots=True)
class NewComparison:
    """A comparison to add.

    Attributes:
        left: the answer that was shown on the left.
        right: the answer that was shown on the right.
        verdict: the better answer; "equal" and "both_bad" prefer none.
        left_label: name of the settings or the prompt of the left answer; empty if only the models differ.
        right_label: likewise, of the right answer.
        user: the person within the API key, as the client names them.
    """

    left: AnswerReference
    right: AnswerReference
    verdict: Verdict
    left_label: str = ""
    right_label: str = ""
    user: str | None = None

    def check(self) -> None:
        """Raise `InvalidParameter` if both answers are the same, or a label is none."""
        if self.left == self.right:
            raise InvalidParameter("right", "A comparison needs two different answers.")
        for name, label in (("left.label", self.left_label), ("right.label", self.right_label)):
            if label and (len(label) > MAX_LABEL_CHARS or not _LABEL.fullmatch(label)):
                raise InvalidParameter(
                    name, f"'{name}' must have 1 to {MAX_LABEL_CHARS} letters, digits, spaces, '_', '.', '+' and '-'."
                )


@dataclass(frozen=True, slots=True, order=True)
class Competitor:
    """What answered: a model, the version of it that served (empty if not recorded), and the label of its settings."""

    model: str
    version: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A stored comparison.

    Attributes:
        id: id of the comparison.
        created: Unix time in seconds.
        owner: name of the API key that gave it; None: no key was needed.
        content: answers and verdict.
        consent: the strictest of the consents of both answers and of the request.
        left: what gave the left answer.
        right: what gave the right answer.
    """

    id: str
    created: float
    owner: str | None
    content: NewComparison
    consent: Consent
    left: Competitor
    right: Competitor


@dataclass(frozen=True, slots=True)
class PairScore:
    """How often one of two competitors was preferred.

    Attributes:
        first: the first competitor.
        second: the second competitor.
        wins: comparisons in which the first was better.
        losses: comparisons in which the second was better.
        equal: comparisons without a better one.
        both_bad: comparisons in which both were bad.
    """

    first: Competitor
    second: Competitor
    wins: int = 0
    losses: int = 0
    equal: int = 0
    both_bad: int = 0

    @property
    def win_rate(self) -> float | None:
        """Share of the wins among wins and losses; None without any."""
        decided = self.wins + self.losses
        return self.wins / decided if decided else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the win rate."""
        return wilson_interval(self.wins, self.wins + self.losses)


class ComparisonStore(Protocol):
    """Stores comparisons of own answers. Part of a `ConversationStore`, with its principal.

    A comparison is deleted together with either answer. A method that writes returns after the change is synced.
    """

    def add(self, content: NewComparison, *, consent: Consent = "full") -> Comparison:
        """Add a comparison. With the consent "full", the loop of improvement learns from it.

        It replaces an earlier one of the same answers, in either order, by the same owner and user.

        Raises:
            NotFound: there is no such answer.
            InvalidParameter: a message is not an answer, or the comparison is invalid.
            Forbidden: the consent is "off", or it is "metadata" and there is a label.
        """

    def list(self, *, limit: int = 100, after: str | None = None) -> tuple[Sequence[Comparison], bool]:
        """A page of own comparisons, oldest first, and whether there is more. Raises `NotFound` for `after`."""

    def scores(self) -> Sequence[PairScore]:
        """Scores of all pairs in own comparisons; the competitor with more wins comes first."""

    def delete(self, id: str) -> None:
        """Delete an own comparison. Raises `NotFound`."""
