"""What the logits of a classifier of texts mean: probabilities of labels, and whether a text has one of them.

Shapes: N texts, K labels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from turnwise.models.classifier_config import ClassifierConfig

FloatArray = NDArray[np.float64]


def label_probabilities(logits_NK: NDArray[np.floating], config: ClassifierConfig) -> FloatArray:
    """Probabilities of the labels, `(N, K)`; of each label on its own if the classifier is multi-label."""
    scaled_NK = logits_NK.astype(np.float64) / config.temperature
    if config.is_multi_label:
        independent_NK: FloatArray = special.expit(scaled_NK)
        return independent_NK
    # Not `special.softmax`, whose checks take longer than a short text's sums.
    exponentials_NK = np.exp(scaled_NK - scaled_NK.max(axis=1, keepdims=True))
    result_NK: FloatArray = exponentials_NK / exponentials_NK.sum(axis=1, keepdims=True)
    return result_NK


def in_scope_scores(logits_NK: NDArray[np.floating], config: ClassifierConfig) -> FloatArray:
    """Scores that are low for texts of no label, `(N)`; `config.threshold` applies to them.

    The energy is log Σ exp(logit) (Liu et al. 2020), without the temperature. It is high if any logit is. The largest
    probability only says how far one logit is above the others, which may all be low.
    """
    if config.threshold_score == "energy":
        energies_N: FloatArray = special.logsumexp(logits_NK.astype(np.float64), axis=1)
        return energies_N
    largest_N: FloatArray = label_probabilities(logits_NK, config).max(axis=1)
    return largest_N
