"""Counts the outcomes of answers by version, to compare a canary with the serving version."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from turnwise.core.feedback import AnswerOrigin, AnswerReference
from turnwise.core.model_versions import VersionOutcomes, VersionRouting

MAX_TIMES = 512  # latest times to first token of the serving version that the limit is taken from
MIN_TIMES = 50  # without so many, no answer counts as slow
MAX_CONVERSATIONS = 200_000  # that are remembered; the test of a canary needs fewer, and later ones are not counted
SLOW_QUANTILE = 0.95  # of the serving version; slower answers are slow


@dataclass(frozen=True, slots=True)
class AnswerOutcome:
    """How an answer ended.

    Attributes:
        is_error: it failed, and not by a fault of the request.
        first_token_seconds: time to first token; None: there was none, or it was not measured.
    """

    is_error: bool
    first_token_seconds: float | None = None


class OutcomeCounter:
    """Outcomes since the last `take`, by number of the version. Safe from any thread.

    Of each conversation, the first answer counts, and the first one that is rated: answers of one conversation often
    fail together, and the test of a canary needs independent trials. A conversation stays with its version, so it is
    what is assigned at random.

    An answer is slow if its first token takes longer than 95 % of the serving version's. The limit is fixed while the
    routing stays the same, so that both versions are measured by the same one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compared: frozenset[int] = frozenset()  # counted: the versions beside a canary or a shadow
        self._serving = 0
        self._times: deque[float] = deque(maxlen=MAX_TIMES)
        self._slow_limit: float | None = None
        self._counts: dict[int, VersionOutcomes] = {}
        self._answered: set[int] = set()  # hashes of the conversations that were counted
        self._rated: dict[int, tuple[AnswerReference, int]] = {}  # by conversation: the answer and its last rating

    @property
    def slow_limit(self) -> float | None:
        """Seconds to the first token above which an answer is slow; None: too few measurements."""
        return self._slow_limit

    def start(self, routing: VersionRouting) -> None:
        """Begin anew after a change of the routing. Nothing is counted while only one version answers."""
        versions = routing.versions
        with self._lock:
            if routing.serving.number != self._serving:
                self._times.clear()
            self._serving = routing.serving.number
            self._compared = frozenset(version.number for version in versions) if len(versions) > 1 else frozenset()
            self._slow_limit = _quantile(self._times)
            self._counts = {}
            self._answered.clear()
            self._rated.clear()

    def record(self, number: int, outcome: AnswerOutcome, conversation: str | None = None) -> None:
        """Count an answer if it is the first one of its conversation; None: it has none."""
        seconds = outcome.first_token_seconds
        with self._lock:
            if number == self._serving and seconds is not None:
                self._times.append(seconds)
                if self._slow_limit is None and self._compared:
                    self._slow_limit = _quantile(self._times)
            limit = self._slow_limit
            is_slow = seconds is not None and limit is not None and seconds > limit
            if number in self._compared and self._is_first(conversation):
                self._add(number, VersionOutcomes(answers=1, errors=int(outcome.is_error), slow=int(is_slow)))

    def record_rating(self, number: int, answer: AnswerOrigin, value: int, previous: int | None) -> None:
        """Count a rating, 1 or -1, if the answer is the first one of its conversation that is rated.

        A later rating of the same answer replaces the one that was counted.

        Args:
            number: number of the version.
            answer: where the answer comes from.
            value: the rating.
            previous: last rating of the same answer; None: it had none. A rating that was not counted, as before the
                canary, stays uncounted.
        """
        key = hash(answer.conversation)
        with self._lock:
            if number not in self._compared:
                return
            counted_answer, counted_value = self._rated.get(key, (None, 0))
            if counted_answer is None and previous is None and len(self._rated) < MAX_CONVERSATIONS:
                self._add(number, VersionOutcomes(rated=1, disliked=int(value < 0)))
            elif counted_answer == answer.answer:
                self._add(number, VersionOutcomes(disliked=int(value < 0) - int(counted_value < 0)))
            else:
                return
            self._rated[key] = answer.answer, value

    def _is_first(self, conversation: str | None) -> bool:
        """True for the first call with a conversation, and without one."""
        if conversation is None:
            return True
        key = hash(conversation)
        if key in self._answered or len(self._answered) >= MAX_CONVERSATIONS:
            return False
        self._answered.add(key)
        return True

    def take(self) -> Mapping[int, VersionOutcomes]:
        """The counts since the last call."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts

    def put_back(self, counts: Mapping[int, VersionOutcomes]) -> None:
        """Add counts that could not be saved."""
        with self._lock:
            for number, outcomes in counts.items():
                self._add(number, outcomes)

    def _add(self, number: int, outcomes: VersionOutcomes) -> None:
        if number in self._compared and outcomes != VersionOutcomes():
            self._counts[number] = self._counts.get(number, VersionOutcomes()) + outcomes


def _quantile(times: deque[float]) -> float | None:
    if len(times) < MIN_TIMES:
        return None
    return sorted(times)[int(SLOW_QUANTILE * len(times))]
