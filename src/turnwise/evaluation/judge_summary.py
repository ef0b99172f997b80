"""Summary of a judge's verdicts on pairs of answers: win rates, and measures of the judge's reliability.

Language models as judges prefer an answer for its position (Zheng et al. 2023, section 3.3). Each pair is therefore
judged in both orders: an answer wins only if it wins in both, everything else is a tie (section 3.4). Position bias and
inconsistency are reported beside the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from turnwise.evaluation import statistics
from turnwise.evaluation.metric import FloatArray, ratio
from turnwise.evaluation.statistics import NUM_RESAMPLES, ConfidenceInterval

JudgeVerdict = Literal["first", "second", "tie"]


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Two answers to one history with the judge's verdicts.

    Attributes:
        group: the id of the dialogue.
        model_first: the verdict with the model's answer first; None if the judge's output has no verdict.
        base_first: the verdict with the base's answer first; None likewise.
        is_identical: the answers have the same text, so the judge was not asked.
    """

    group: str
    model_first: JudgeVerdict | None
    base_first: JudgeVerdict | None
    is_identical: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether both verdicts are available, or none is needed."""
        return self.is_identical or (self.model_first is not None and self.base_first is not None)

    @property
    def outcome(self) -> int:
        """1 if the model's answer wins in both orders, -1 if the base's does, 0 for a tie."""
        if self.model_first == "first" and self.base_first == "second":
            return 1
        return -1 if self.model_first == "second" and self.base_first == "first" else 0

    @property
    def is_consistent(self) -> bool:
        """Whether both orders have the same outcome."""
        return bool(self.outcome) or self.model_first == self.base_first == "tie"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval; dialogues are the units of resampling."""

    value: float
    interval: ConfidenceInterval


@dataclass(frozen=True, slots=True)
class JudgeSummary:
    """Win rates of a model against its base by a judge. The verdict of a scorecard does not depend on them.

    Attributes:
        judge: the name of the judge model.
        url: its address.
        num_pairs: pairs with an outcome.
        num_identical: pairs of identical answers among them; they count as ties.
        wins: share of pairs that the model wins.
        ties: share of ties.
        losses: share of pairs that the base wins.
        lead: wins minus losses.
        p_value: probability of a lead at least this large, in either direction, if the two models were equal
            (permutation test).
        position_bias: share of verdicts for the first answer minus the share for the second.
        inconsistency: share of judged pairs whose two orders disagree.
        num_invalid_verdicts: outputs of the judge without a verdict.
        num_excluded_pairs: pairs without an outcome because of them.
    """

    judge: str
    url: str
    num_pairs: int
    num_identical: int
    wins: Estimate
    ties: Estimate
    losses: Estimate
    lead: Estimate
    p_value: float
    position_bias: Estimate
    inconsistency: Estimate
    num_invalid_verdicts: int
    num_excluded_pairs: int


def summarize_verdicts(
    pairs: Sequence[JudgedPair], judge: str, url: str, *, resamples: int = NUM_RESAMPLES
) -> JudgeSummary:
    """Compute the summary.

    Args:
        pairs: all pairs.
        judge: the name of the judge model.
        url: its address.
        resamples: number of bootstrap resamples and of permutations.
    """
    valid = [pair for pair in pairs if pair.is_valid]
    judged = [pair for pair in valid if not pair.is_identical]
    verdicts = [
        (pair.group, verdict)
        for pair in pairs
        for verdict in (pair.model_first, pair.base_first)
        if verdict is not None
    ]
    wins_GK, ties_GK, losses_GK = (
        _counts([(pair.group, pair.outcome == outcome) for pair in valid]) for outcome in (1, 0, -1)
    )
    first_GK, second_GK = (
        _counts([(group, verdict == position) for group, verdict in verdicts]) for position in ("first", "second")
    )
    return JudgeSummary(
        judge,
        url,
        num_pairs=len(valid),
        num_identical=sum(pair.is_identical for pair in valid),
        wins=_share(wins_GK, resamples),
        ties=_share(ties_GK, resamples),
        losses=_share(losses_GK, resamples),
        lead=_difference(wins_GK, losses_GK, resamples),
        p_value=statistics.permutation_test(wins_GK, losses_GK, _ratio_of_sums, resamples=resamples)
        if valid
        else float("nan"),
        position_bias=_difference(first_GK, second_GK, resamples),
        inconsistency=_share(_counts([(pair.group, not pair.is_consistent) for pair in judged]), resamples),
        num_invalid_verdicts=sum(
            (pair.model_first is None) + (pair.base_first is None) for pair in pairs if not pair.is_identical
        ),
        num_excluded_pairs=len(pairs) - len(valid),
    )


def _counts(events: Sequence[tuple[str, bool]]) -> FloatArray:
    """Count of true events and of all events per dialogue, `(G, 2)`."""
    index_of = {group: index for index, group in enumerate(dict.fromkeys(group for group, _ in events))}
    sums_GK = np.zeros((len(index_of), 2))
    for group, is_true in events:
        sums_GK[index_of[group]] += (is_true, 1.0)
    return sums_GK


def _ratio_of_sums(totals_XK: FloatArray) -> FloatArray:
    return ratio(totals_XK[..., 0], totals_XK[..., 1])


def _share(sums_GK: FloatArray, resamples: int) -> Estimate:
    if len(sums_GK) and (sums_GK[:, 1] == 1).all():  # one event per dialogue: a binomial proportion
        interval = statistics.wilson_interval(sums_GK[:, 0])
    else:
        interval = statistics.bootstrap_interval(sums_GK, _ratio_of_sums, resamples=resamples)
    return Estimate(statistics.metric_value(sums_GK, _ratio_of_sums), interval)


def _difference(new_GK: FloatArray, old_GK: FloatArray, resamples: int) -> Estimate:
    value = statistics.metric_value(new_GK, _ratio_of_sums) - statistics.metric_value(old_GK, _ratio_of_sums)
    interval = statistics.bootstrap_difference(new_GK, old_GK, _ratio_of_sums, resamples=resamples).interval()
    if interval.low == interval.high:
        # All dialogues are alike, so the bootstrap has no spread. Wilson's interval of "all of n" bounds the share of
        # unlike dialogues that n observations may have missed; each of them moves the value towards -1 or 1.
        unseen_share = 1 - statistics.wilson_interval(np.ones(len(new_GK))).low
        interval = ConfidenceInterval(value - unseen_share * (value + 1), value + unseen_share * (1 - value))
    return Estimate(value, interval)
