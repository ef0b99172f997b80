"""Log-likelihood ratios of a surge against the expected rate.

Counts are negative binomial with mean `expected` and variance `expected + dispersion * expected**2`; dispersion 0 is
the Poisson distribution. Negative texts are binomial with a variance that is larger by the factor
`1 + (texts - 1) * dispersion`, as of a beta-binomial; the ratio is divided by it (quasi-likelihood, Wedderburn 1974).
"""

from math import log, log1p

_POISSON = 1e-6  # below this dispersion the limit for 0 is used, because 1/dispersion loses digits


def count_llr(count: float, expected: float, dispersion: float) -> float:
    """Log-likelihood ratio of the best-fitting rate against the expected one; 0 where `count` is not above it."""
    if count <= expected:
        return 0.0
    ratio = count * log(count / expected)
    if dispersion < _POISSON:
        return ratio - (count - expected)
    growth = log1p(dispersion * (count - expected) / (1 + dispersion * expected))
    return ratio - (count + 1 / dispersion) * growth


def share_llr(negative: float, texts: float, expected: float, dispersion: float) -> float:
    """Log-likelihood ratio of the best-fitting share of negative texts against the expected one.

    Args:
        negative: number of negative texts.
        texts: number of texts.
        expected: expected number of negative texts, above 0 and below `texts`.
        dispersion: correlation of two texts of the same interval, as in a beta-binomial distribution.

    Returns:
        The ratio; 0 where `negative` is not above `expected`.
    """
    if negative <= expected:
        return 0.0
    ratio = negative * log(negative / expected)
    if negative < texts:
        ratio += (texts - negative) * log((texts - negative) / (texts - expected))
    return ratio / (1 + (texts - 1) * dispersion)


def count_return_llr(count: float, expected: float, factor: float, dispersion: float) -> float:
    """Log-likelihood ratio of the expected rate against one that is `factor` times as high, for one window."""
    if dispersion < _POISSON:
        return (factor - 1) * expected - count * log(factor)
    growth = log1p(dispersion * expected * (factor - 1) / (1 + dispersion * expected))
    return (count + 1 / dispersion) * growth - count * log(factor)


def share_return_llr(negative: float, texts: float, share: float, raised_share: float, dispersion: float) -> float:
    """Log-likelihood ratio of the expected share against a raised one, for one window."""
    if not texts:
        return 0.0
    ratio = negative * log(share / raised_share) + (texts - negative) * log((1 - share) / (1 - raised_share))
    return ratio / (1 + (texts - 1) * dispersion)
