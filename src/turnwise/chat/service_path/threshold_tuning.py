"""Chooses the threshold of intents for a maximum share of wrong answers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnwise.chat.service_path.logistic_head import Floats


@dataclass(frozen=True, slots=True)
class TunedThreshold:
    """A threshold and what it gives on the messages it was chosen on.

    Attributes:
        threshold: smallest probability that is answered.
        answered: share of messages that are answered.
        wrong: share of messages that are answered wrongly.
    """

    threshold: float
    answered: float
    wrong: float


def choose_threshold(
    probabilities_N: Floats, correct_N: NDArray[np.bool_], weights_N: Floats, max_wrong: float
) -> TunedThreshold:
    """The threshold that answers the most messages with at most `max_wrong` of all messages answered wrongly.

    Args:
        probabilities_N: probability of each message's first intent.
        correct_N: whether that intent is right.
        weights_N: weight of each message.
        max_wrong: share of all messages.
    """
    weights_N = weights_N / weights_N.sum()
    best = TunedThreshold(1.0, 0.0, 0.0)
    for threshold in np.unique(probabilities_N)[::-1].tolist():
        is_answered_N = probabilities_N >= threshold
        wrong = float(weights_N[is_answered_N & ~correct_N].sum())
        if wrong > max_wrong + 1e-12:
            break  # lower thresholds answer more messages wrongly
        best = TunedThreshold(threshold, float(weights_N[is_answered_N].sum()), wrong)
    return best
