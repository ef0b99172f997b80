"""What a judge's verdicts on pairs of answers come to: who is preferred, and how far the judge can be trusted.

Judges that are language models prefer what comes first, or second, whatever it is (Zheng et al. 2023, section 3.3). So
every pair is judged in both orders; only what holds in both counts, and what does not is a tie (section 3.4 there). How
often that happens, and which way, is told beside the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from turnwise.evaluation import statistics
from turnwise.evaluation.metric import FloatArray, ratio
from turnwise.evaluation.statistics import NUM_RESAMPLES, ConfidenceInterval

Verdict = Literal["first", "second", "tie"]


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Two answers to one history, and what the judge said of them.

    Attributes:
        group: the dialogue.
        before: the verdict with the model's answer first; None where it could not be read.
        after: the same with the model's answer second.
        same: the answers are the same words, so nobody was asked.
    """

    group: str
    before: Verdict | None
    after: Verdict | None
    same: bool = False

    @property
    def read(self) -> bool:
        """Whether there is an outcome."""
        return self.same or (self.before is not None and self.after is not None)

    @property
    def outcome(self) -> int:
        """1 where the model's answer is better in both orders, -1 where the other's is, 0 for a tie."""
        if self.before == "first" and self.after == "second":
            return 1
        return -1 if self.before == "second" and self.after == "first" else 0

    @property
    def consistent(self) -> bool:
        """Whether both orders gave the same."""
        return bool(self.outcome) or self.before == self.after == "tie"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval by dialogue."""

    value: float
    interval: ConfidenceInterval


@dataclass(frozen=True, slots=True)
class JudgeSummary:
    """What a judge thinks of a model beside its base. No verdict rests on it.

    Attributes:
        judge, url: who was asked, and where.
        pairs: with an outcome; of these `same` were the same words twice, which are ties.
        wins, ties, losses: shares of the pairs.
        lead: wins less losses.
        p: of so large a lead, either way, if it did not matter which answer is whose.
        position_bias: verdicts for what stood first less verdicts for what stood second, of all verdicts.
        inconsistency: the share of asked pairs of which the two orders gave different things.
        unread: verdicts that were none.
        left_out: pairs without an outcome because of them.
    """

    judge: str
    url: str
    pairs: int
    same: int
    wins: Estimate
    ties: Estimate
    losses: Estimate
    lead: Estimate
    p: float
    position_bias: Estimate
    inconsistency: Estimate
    unread: int
    left_out: int


def summarize_verdicts(
    pairs: Sequence[JudgedPair], judge: str, url: str, *, resamples: int = NUM_RESAMPLES
) -> JudgeSummary:
    """Add up verdicts.

    Args:
        pairs: all that were to be judged.
        judge: the name of the model that was asked.
        url: where.
        resamples: of dialogues.
    """
    read = [pair for pair in pairs if pair.read]
    asked = [pair for pair in read if not pair.same]
    said = [(pair.group, verdict) for pair in pairs for verdict in (pair.before, pair.after) if verdict is not None]
    won_GK, tied_GK, lost_GK = (_sums([(p.group, p.outcome == outcome) for p in read]) for outcome in (1, 0, -1))
    first_GK, second_GK = (_sums([(group, each == place) for group, each in said]) for place in ("first", "second"))
    return JudgeSummary(
        judge,
        url,
        pairs=len(read),
        same=sum(pair.same for pair in read),
        wins=_share(won_GK, resamples),
        ties=_share(tied_GK, resamples),
        losses=_share(lost_GK, resamples),
        lead=_apart(won_GK, lost_GK, resamples),
        p=statistics.permutation_test(won_GK, lost_GK, _value, resamples=resamples) if read else float("nan"),
        position_bias=_apart(first_GK, second_GK, resamples),
        inconsistency=_share(_sums([(pair.group, not pair.consistent) for pair in asked]), resamples),
        unread=sum((pair.before is None) + (pair.after is None) for pair in pairs if not pair.same),
        left_out=len(pairs) - len(read),
    )


def _sums(found: Sequence[tuple[str, bool]]) -> FloatArray:
    """By dialogue: how many are so, and how many there are."""
    groups = {group: number for number, group in enumerate(dict.fromkeys(group for group, _ in found))}
    sums_GK = np.zeros((len(groups), 2))
    for group, true in found:
        sums_GK[groups[group]] += (true, 1.0)
    return sums_GK


def _value(totals_XK: FloatArray) -> FloatArray:
    return ratio(totals_XK[..., 0], totals_XK[..., 1])


def _share(sums_GK: FloatArray, resamples: int) -> Estimate:
    if len(sums_GK) and (sums_GK[:, 1] == 1).all():
        interval = statistics.wilson_interval(sums_GK[:, 0])
    else:
        interval = statistics.bootstrap_interval(sums_GK, _value, resamples=resamples)
    return Estimate(statistics.metric_value(sums_GK, _value), interval)


def _apart(new_GK: FloatArray, old_GK: FloatArray, resamples: int) -> Estimate:
    value = statistics.metric_value(new_GK, _value) - statistics.metric_value(old_GK, _value)
    found = statistics.bootstrap_difference_interval(new_GK, old_GK, _value, resamples=resamples)
    if found.low == found.high:  # all alike: there is nothing to resample, and yet the next might be otherwise
        other = 1 - statistics.wilson_interval(np.ones(len(new_GK))).low  # this many of them, and as far as can be
        found = ConfidenceInterval(value - other * (value + 1), value + other * (1 - value))
    return Estimate(value, found)
