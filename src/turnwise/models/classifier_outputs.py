"""What the logits of a classifier of texts mean: probabilities of labels, and whether a text has one of them.

Shapes: N texts, K labels, L logits: one for every label and, with a `none_label`, a last one for texts of no label.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from turnwise.models.classifier_config import ClassifierConfig

FloatArray = NDArray[np.float64]


def label_probabilities(logits_NL: NDArray[np.floating], config: ClassifierConfig) -> FloatArray:
    """Probabilities of the labels, `(N, K)`; of each label on its own if the classifier is multi-label.

    With a `none_label` they are below 1 in sum: the rest is the probability that the text has no label.
    """
    scaled_NL = logits_NL.astype(np.float64) / config.temperature
    if config.is_multi_label:
        probabilities_NK: FloatArray = special.expit(scaled_NL)
        return probabilities_NK
    # Not `special.softmax`, whose checks take longer than a short text's sums.
    exponentials_NL = np.exp(scaled_NL - scaled_NL.max(axis=1, keepdims=True))
    result_NK: FloatArray = (exponentials_NL / exponentials_NL.sum(axis=1, keepdims=True))[:, : len(config.labels)]
    return result_NK


def in_scope_scores(logits_NL: NDArray[np.floating], config: ClassifierConfig) -> FloatArray:
    """Scores that are low for texts of no label, `(N)`; `config.threshold` applies to them.

    The energy is log Σ exp(logit) over the labels (Liu et al. 2020), without the temperature. It is high if any logit
    is. The largest probability only says how far one logit is above the others, which may all be low. With a
    `none_label` the energy is less its logit, which makes it the logarithm of the odds that the text has a label.
    """
    if config.threshold_score == "energy":
        labels_NK = logits_NL[:, : len(config.labels)].astype(np.float64)
        energies_N: FloatArray = special.logsumexp(labels_NK, axis=1)
        return energies_N if config.none_label is None else energies_N - logits_NL[:, -1]
    largest_N: FloatArray = label_probabilities(logits_NL, config).max(axis=1)
    return largest_N


def find_refused(logits_NL: NDArray[np.floating], config: ClassifierConfig) -> NDArray[np.bool_]:
    """Whether each text belongs to none of the labels, `(N)`.

    It does if its score is below the threshold. Without a threshold it does if the logit of the `none_label` is the
    highest.
    """
    if config.threshold is not None:
        is_below_N: NDArray[np.bool_] = in_scope_scores(logits_NL, config) < config.threshold
        return is_below_N
    if config.none_label is None:
        return np.zeros(len(logits_NL), dtype=np.bool_)
    is_none_N: NDArray[np.bool_] = logits_NL.argmax(axis=1) == len(config.labels)
    return is_none_N
