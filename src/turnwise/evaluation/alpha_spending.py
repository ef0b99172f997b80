"""Significance levels for candidates that are tested one after another on the same held-out dialogues.

Every candidate of a model is one more chance to be called better by luck. Candidate k since the last promotion is
tested at alpha · k^-1.6 / ζ(1.6). The levels add up to alpha, so the probability of any false promotion before the next
real one is at most alpha, however the tests depend on each other (Bonferroni; spending functions: Lan and DeMets 1983).
After a promotion the count starts again: the expected number of false promotions is at most alpha for every real one,
plus one alpha (alpha-investing: Foster and Stine 2008).

`benchmarks/gate_errors.py` compares exponents: k^-2 gives the first candidate more and later ones too little; a
constant level lets every second model change by luck within 200 rounds.
"""

from scipy.special import zeta

from turnwise.core.errors import InvalidParameter

EXPONENT = 1.6


def spent_alpha(cycle: int, alpha: float) -> float:
    """The level for candidate number `cycle` since the last promotion, from 1.

    Args:
        cycle: number of the candidate. Every one that was compared on the held-out dialogues counts.
        alpha: the sum of all levels.

    Raises `InvalidParameter` for a cycle below 1 or an alpha that is not between 0 and 1.
    """
    if cycle < 1:
        raise InvalidParameter("cycle", f"The number of the cycle starts at 1, got {cycle}.")
    if not 0 < alpha < 1:
        raise InvalidParameter("alpha", f"alpha must be above 0 and below 1, got {alpha:g}.")
    return float(alpha * cycle**-EXPONENT / zeta(EXPONENT))
