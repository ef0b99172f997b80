"""Metrics of a classifier that may give a text no label ("none of these"): recall of none, wrong labels, refused texts.

Shapes: G texts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from turnwise.core.classification import TextLabels
from turnwise.data.annotations.annotated import LabeledText
from turnwise.evaluation.classification.classifier_metrics import ClassifierSums, ShareMetric
from turnwise.evaluation.metric import MetricDefinition


class NoneRecallMetric(ShareMetric):
    """Recall of texts of no label."""

    NAME, LABEL, IS_BINARY = "none_recall", "recall of none", True
    DESCRIPTION = "Share of the texts that belong to none of the labels, and that get none."


class WrongLabelMetric(MetricDefinition):
    """Share of texts with a wrong label."""

    NAME, LABEL, BETTER = "wrong_label", "wrong label", "lower"
    RANGE, VALUE_FORMAT, IS_BINARY = (0.0, 1.0), ".1%", True
    DESCRIPTION = "Share of the texts with a label that get another one."


class RefusedMetric(MetricDefinition):
    """Share of texts that are refused."""

    NAME, LABEL, BETTER = "refused", "refused", "lower"
    RANGE, VALUE_FORMAT, IS_BINARY = (0.0, 1.0), ".1%", True
    DESCRIPTION = "Share of the texts with a label that get none."


def refusal_metrics(texts: Sequence[LabeledText], predictions: Sequence[TextLabels]) -> dict[str, ClassifierSums]:
    """The metrics of a classifier that predicts at most one label, by name.

    Args:
        texts: texts with their true label, or without one if they belong to none.
        predictions: the predicted labels.

    Returns:
        The recall of none if there is a text without a label, the other metrics if there is one with a label.
    """
    has_label_G = np.array([bool(text.labels) for text in texts])
    is_refused_G = np.array([not prediction.labels for prediction in predictions])
    is_wrong_G = ~is_refused_G & np.array([a.labels != b.labels for a, b in zip(texts, predictions, strict=True)])
    results: list[ClassifierSums] = []
    if not has_label_G.all():
        sums_GK = np.stack([is_refused_G & ~has_label_G, ~has_label_G], axis=1)
        results.append(ClassifierSums(NoneRecallMetric(), sums_GK.astype(np.float64)))
    if has_label_G.any():
        pairs: Sequence[tuple[MetricDefinition, NDArray[np.bool_]]]
        pairs = ((WrongLabelMetric(), is_wrong_G), (RefusedMetric(), is_refused_G))
        for metric, flags_G in pairs:
            sums_GK = np.stack([flags_G & has_label_G, has_label_G], axis=1)
            results.append(ClassifierSums(metric, sums_GK.astype(np.float64)))
    return {result.metric.NAME: result for result in results}
