"""Stop conditions of training on sampled replies: signs that the reward is exploited or no longer informative.

Replies to held-out prompts are sampled before the first step and at every validation. A guard trips if they lose
variety, change their length or pass fewer gates, or if the cross-entropy of human replies rises. A discriminator that
orders nearly all held-out pairs correctly, or about half of them, gives no useful reward.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReplyFigures:
    """Figures of sampled replies to held-out prompts.

    Attributes:
        distinct_2: distinct word pairs divided by all word pairs.
        self_bleu: mean BLEU of a reply against other replies.
        mean_words: mean length in words.
        gate_pass: share of the replies that pass all gates.
        chrf: chrF against the human replies.
        pair_accuracy: share of the pairs of a human and a sampled reply that the discriminator orders correctly; None
            without one.
        loss: cross-entropy of the human replies, in nats per token.
    """

    distinct_2: float
    self_bleu: float
    mean_words: float
    gate_pass: float
    chrf: float
    pair_accuracy: float | None
    loss: float

    def as_metrics(self) -> dict[str, float]:
        """The figures by name, without the loss, which is reported anyway."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != "loss"}


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """What trips a guard. Changes are relative to the replies before the first step.

    Attributes:
        distinct_2_fall: largest relative fall of distinct-2.
        length_drift: largest relative change of the mean length.
        gate_pass_fall: largest fall of the share that passes the gates, absolute.
        loss_rise: largest rise of the cross-entropy of human replies, in nats per token; 0.05 is 5 % of perplexity.
        highest_pair_accuracy: largest share of pairs that the discriminator may order correctly.
        lowest_pair_accuracy: smallest share; 0.5 is chance.
        patience: validations in a row that exceed a limit before the run ends, because the figures are of a sample.
    """

    distinct_2_fall: float = 0.05
    length_drift: float = 0.15
    gate_pass_fall: float = 0.05
    loss_rise: float = 0.05
    highest_pair_accuracy: float = 0.95
    lowest_pair_accuracy: float = 0.52
    patience: int = 2


class Guards:
    """Compares figures with those before the first step.

    Args:
        limits: what trips a guard.
        watches_discriminator: False if the pair accuracy says nothing about the reward of the steps to come.

    Attributes:
        start: figures before the first step; None before they are measured.
    """

    def __init__(self, limits: GuardLimits, *, watches_discriminator: bool = True) -> None:
        self.limits, self._watches_discriminator = limits, watches_discriminator
        self.start: ReplyFigures | None = None
        self._num_exceeded = 0  # validations in a row that exceed a limit

    def check(self, figures: ReplyFigures) -> str | None:
        """Record figures; return why training ends, as a sentence, or None."""
        if self.start is None:
            self.start = figures
            return None
        reason = self._check_changes(self.start, figures) or self._check_pair_accuracy(figures.pair_accuracy)
        self._num_exceeded = self._num_exceeded + 1 if reason else 0
        return reason if self._num_exceeded >= self.limits.patience else None

    def _check_changes(self, start: ReplyFigures, now: ReplyFigures) -> str | None:
        limits = self.limits
        if now.distinct_2 < start.distinct_2 * (1 - limits.distinct_2_fall):
            return f"The replies lost variety: distinct-2 fell from {start.distinct_2:.3f} to {now.distinct_2:.3f}."
        if abs(now.mean_words / max(start.mean_words, 1e-9) - 1) > limits.length_drift:
            return f"The length of the replies drifted from {start.mean_words:.1f} to {now.mean_words:.1f} words."
        if now.gate_pass < start.gate_pass - limits.gate_pass_fall:
            return f"Fewer replies pass the gates: {start.gate_pass:.0%} before, {now.gate_pass:.0%} now."
        if now.loss > start.loss + limits.loss_rise:
            return (
                f"Human replies became less likely: their cross-entropy rose from {start.loss:.3f} to {now.loss:.3f}."
            )
        return None

    def _check_pair_accuracy(self, pair_accuracy: float | None) -> str | None:
        if pair_accuracy is None or not self._watches_discriminator:
            return None
        is_high = pair_accuracy > self.limits.highest_pair_accuracy
        is_low = pair_accuracy < self.limits.lowest_pair_accuracy
        if not is_high and not is_low:
            return None
        what = "nearly all" if is_high else "too few"
        return f"The discriminator orders {what} pairs of a human and a sampled reply correctly: {pair_accuracy:.0%}."

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"start": None if self.start is None else asdict(self.start), "num_exceeded": self._num_exceeded}

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        start = values["start"]
        self.start = None if start is None else ReplyFigures(**start)
        self._num_exceeded = values["num_exceeded"]
