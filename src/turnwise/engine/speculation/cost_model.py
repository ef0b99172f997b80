"""Decides how many draft tokens to verify, from the measured time of forward passes.

A pass over n + k rows instead of n takes time(n + k) / time(n) as long and yields as many more tokens as are accepted.
Where memory bandwidth is the limit, more rows cost almost nothing. Where many sequences saturate the processor, they
cost their share and drafts do not pay (Leviathan et al. 2023, section 3.5; measurements in docs/performance.md).
"""

from bisect import bisect_left
from collections.abc import Sequence

from turnwise.engine.speculation.draft_proposer import MAX_MATCH_LENGTH

LATENCY_WEIGHT = 0.1  # of the latest measurement in the moving average
MIN_SPEEDUP = 1.05  # required tokens per second relative to no draft: covers measurement noise and the lookup
ROW_BUCKETS = (*range(1, 17), 20, 24, 28, 32, 40, 48, 64, 96, 128)  # upper bounds of the numbers of rows
MATCH_BUCKETS = (4, 8, 16, MAX_MATCH_LENGTH)  # upper bounds of the match lengths
RETRY_INTERVAL = 32  # proposals that do not pay before one is tried anyway: sequences and load change
PRIOR_RATE, PRIOR_WEIGHT = 0.7, 8.0  # acceptance rate before any measurement, and its weight in tokens


class CostModel:
    """Moving averages of latency by number of rows and of acceptance by match length."""

    def __init__(self) -> None:
        self._num_declined = 0
        self._seconds: list[float | None] = [None] * len(ROW_BUCKETS)
        self._verified = [PRIOR_WEIGHT] * (len(MATCH_BUCKETS) + 1)
        self._accepted = [PRIOR_RATE * PRIOR_WEIGHT] * (len(MATCH_BUCKETS) + 1)

    def record_latency(self, rows: int, seconds: float) -> None:
        """Record the duration of a forward pass over `rows` tokens, decode and draft tokens only."""
        bucket = bisect_left(ROW_BUCKETS, rows)
        if bucket == len(ROW_BUCKETS):
            return
        mean = self._seconds[bucket]
        # Short durations weigh more: long ones were delayed by something else on the machine.
        weight = 1.0 if mean is None else LATENCY_WEIGHT if seconds > mean else 3 * LATENCY_WEIGHT
        self._seconds[bucket] = seconds if mean is None else mean + weight * (seconds - mean)

    def record_acceptance(self, match: int, accepted: int, verified: int) -> None:
        """Record a draft with this match length: `verified` tokens were compared, `accepted` were correct."""
        bucket = bisect_left(MATCH_BUCKETS, match)
        self._verified[bucket] += verified
        self._accepted[bucket] += accepted
        if self._verified[bucket] > 1000:  # forget slowly
            self._verified[bucket] /= 2
            self._accepted[bucket] /= 2

    def acceptance_rate(self, match: int) -> float:
        """Probability that a draft token is correct, given that those before it are."""
        bucket = bisect_left(MATCH_BUCKETS, match)
        return self._accepted[bucket] / self._verified[bucket]

    def draft_lengths(self, rows: int, drafts: Sequence[tuple[int, float]]) -> list[int]:
        """Number of tokens of each draft to verify, for the highest expected number of tokens per second.

        Args:
            rows: rows of the forward pass without drafts.
            drafts: length and acceptance rate of each draft.
        """
        # A draft token is useful only if all before it are correct: probability rate ** position.
        candidates = sorted(
            (
                (rate ** (position + 1), number)
                for number, (length, rate) in enumerate(drafts)
                for position in range(length)
            ),
            reverse=True,
        )
        baseline = rows / self._latency(rows)
        expected, best_speed, best_count = float(rows), baseline * MIN_SPEEDUP, 0
        for count, (probability, _) in enumerate(candidates, 1):
            expected += probability
            speed = expected / self._latency(rows + count)
            if speed > best_speed:
                best_speed, best_count = speed, count
        self._num_declined = 0 if best_count else self._num_declined + 1
        if self._num_declined == RETRY_INTERVAL:
            self._num_declined, best_count = 0, min(len(candidates), 4)
        lengths = [0] * len(drafts)
        for _, number in candidates[:best_count]:
            lengths[number] += 1
        return lengths

    def _latency(self, rows: int) -> float:
        """Expected duration of a pass. Without a measurement, that of the nearest smaller pass: optimistic, so that
        the size is tried and then measured."""
        bucket = min(bisect_left(ROW_BUCKETS, rows), len(ROW_BUCKETS) - 1)
        for smaller in range(bucket, -1, -1):
            if (seconds := self._seconds[smaller]) is not None:
                return seconds
        return 1.0
