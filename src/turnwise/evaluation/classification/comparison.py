"""Two classifiers on the same cases: differences with intervals and tests.

Sentences are resampled as a whole, since the tokens of one are not independent.

Shapes: G sentences or texts, X sets of sums; K sums: right, wrong and missed cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.core.tag_schemes import entities
from turnwise.evaluation import statistics
from turnwise.evaluation.metric import FloatArray, ratio
from turnwise.evaluation.statistics import ConfidenceInterval, McNemarTest


@dataclass(frozen=True, slots=True)
class ClassifierComparison:
    """A score of two classifiers, "new" and "old".

    Attributes:
        new, old: the scores.
        interval: 95 % confidence interval of the difference new − old.
        p_value: two-sided p-value of a paired permutation test.
        mcnemar: texts or sentences that only one of the two got entirely right.
    """

    new: float
    old: float
    interval: ConfidenceInterval
    p_value: float
    mcnemar: McNemarTest

    @property
    def difference(self) -> float:
        """new − old."""
        return self.new - self.old


def compare_labels(
    targets: Sequence[str], new: Sequence[str], old: Sequence[str], *, seed: int = 0
) -> ClassifierComparison:
    """Compare the accuracies of two classifiers of texts."""
    new_GK, old_GK = (
        np.array([[a == b, a != b, a != b] for a, b in zip(targets, labels, strict=True)], dtype=np.float64)
        for labels in (new, old)
    )
    return _compare(new_GK, old_GK, new_GK[:, 0], old_GK[:, 0], seed)


def compare_entities(
    targets: Sequence[Sequence[str]], new: Sequence[Sequence[str]], old: Sequence[Sequence[str]], *, seed: int = 0
) -> ClassifierComparison:
    """Compare the micro-averaged entity F1 of two taggers."""
    new_GK, old_GK = entity_sums(targets, new), entity_sums(targets, old)
    is_right = [(sums_GK[:, 1:].sum(axis=1) == 0).astype(np.float64) for sums_GK in (new_GK, old_GK)]
    return _compare(new_GK, old_GK, is_right[0], is_right[1], seed)


def entity_sums(targets: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> FloatArray:
    """Right, wrong and missed entities of every sentence, `(G, 3)`."""
    rows = []
    for target, prediction in zip(targets, predictions, strict=True):
        true, predicted = set(entities(target)), set(entities(prediction))
        rows.append((len(true & predicted), len(predicted - true), len(true - predicted)))
    return np.array(rows, dtype=np.float64).reshape(len(rows), 3)


def f1(totals_XK: FloatArray) -> FloatArray:
    """F1 from sums of right, wrong and missed cases; NaN without any case. With one label per text, the accuracy."""
    right, wrong, missed = (totals_XK[..., column] for column in range(3))
    return ratio(2 * right, 2 * right + wrong + missed)


def _compare(
    new_GK: FloatArray, old_GK: FloatArray, new_is_right_G: FloatArray, old_is_right_G: FloatArray, seed: int
) -> ClassifierComparison:
    return ClassifierComparison(
        statistics.metric_value(new_GK, f1),
        statistics.metric_value(old_GK, f1),
        statistics.bootstrap_difference_interval(new_GK, old_GK, f1, seed=seed),
        statistics.permutation_test(new_GK, old_GK, f1, seed=seed),
        statistics.mcnemar(new_is_right_G, old_is_right_G),
    )
