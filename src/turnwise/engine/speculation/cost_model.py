"""Whether drafts are worth their time, by what passes of so many rows have taken here.

A pass over n + k rows instead of n costs time(n + k) / time(n), and brings on top as many tokens as are accepted. Where
weights come out of memory a few more rows cost next to nothing; where many chats fill the processor they cost their
share, and drafts do not pay (Leviathan et al. 2023, section 3.5; the figures here: docs/performance.md).
"""

from bisect import bisect_left
from collections.abc import Sequence

from turnwise.engine.speculation.draft_proposer import LONGEST_MATCH

WEIGHT = 0.1  # of the latest time in the mean
GAIN = 1.05  # tokens per time that a draft has to promise: measuring is not exact, and building drafts takes time too
SIZES = (*range(1, 17), 20, 24, 28, 32, 40, 48, 64, 96, 128)  # rows that are told apart
MATCHES = (4, 8, 16, LONGEST_MATCH)  # matches up to so many tokens are told apart
RETRY_INTERVAL = 32  # looks after which a draft is tried that does not seem to pay: chats and their company change
PRIOR, PRIOR_WEIGHT = 0.7, 8.0  # of a draft's tokens that will be accepted, before anything was seen


class CostModel:
    """Learns what passes take and how far drafts can be trusted."""

    def __init__(self) -> None:
        self._declined = 0
        self._seconds: list[float | None] = [None] * len(SIZES)
        self._checked = [PRIOR_WEIGHT] * (len(MATCHES) + 1)
        self._accepted = [PRIOR * PRIOR_WEIGHT] * (len(MATCHES) + 1)

    def record_latency(self, rows: int, seconds: float) -> None:
        """A pass of so many rows has ended, all of them next tokens and drafts."""
        size = bisect_left(SIZES, rows)
        if size == len(SIZES):
            return
        mean = self._seconds[size]
        # The shortest tells most: what takes longer was held up by something else.
        weight = 1.0 if mean is None else WEIGHT if seconds > mean else 3 * WEIGHT
        self._seconds[size] = seconds if mean is None else mean + weight * (seconds - mean)

    def saw(self, match: int, accepted: int, checked: int) -> None:
        """So many of a draft's tokens were checked, and so many were right."""
        kind = bisect_left(MATCHES, match)
        self._checked[kind] += checked
        self._accepted[kind] += accepted
        if self._checked[kind] > 1000:  # what is long ago counts less
            self._checked[kind] /= 2
            self._accepted[kind] /= 2

    def acceptance_rate(self, match: int) -> float:
        """How likely a draft's next token is right, if those before it were."""
        kind = bisect_left(MATCHES, match)
        return self._accepted[kind] / self._checked[kind]

    def lengths(self, rows: int, drafts: Sequence[tuple[int, float]]) -> list[int]:
        """How many tokens of each draft to check in a pass that has `rows` rows without them.

        Args:
            rows: of the pass.
            drafts: how long each is, and how likely its next token is right if those before it were.
        """
        # The likeliest next; a token is only of use if all before it are right.
        chances = sorted(
            (
                (acceptance_rate ** (place + 1), number)
                for number, (length, acceptance_rate) in enumerate(drafts)
                for place in range(length)
            ),
            reverse=True,
        )
        plain = rows / self._time(rows)
        expected, best, best_count = float(rows), plain * GAIN, 0
        for count, (chance, _) in enumerate(chances, 1):
            expected += chance
            speed = expected / self._time(rows + count)
            if speed > best:
                best, best_count = speed, count
        self._declined = 0 if best_count else self._declined + 1
        if self._declined == RETRY_INTERVAL:
            self._declined, best_count = 0, min(len(chances), 4)
        found = [0] * len(drafts)
        for _, number in chances[:best_count]:
            found[number] += 1
        return found

    def _time(self, rows: int) -> float:
        """What a pass of so many rows takes; where none was seen yet, as long as the largest below: it will be seen."""
        size = min(bisect_left(SIZES, rows), len(SIZES) - 1)
        for smaller in range(size, -1, -1):
            if (seconds := self._seconds[smaller]) is not None:
                return seconds
        return 1.0
