"""Metrics of classifiers for a scorecard, as sums over texts or sentences.

Sentences are resampled as a whole, since the tokens of one are not independent.

Shapes: G texts or sentences, L labels, K sums, X sets of sums.
"""

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from turnwise.core.classification import TextLabels
from turnwise.core.tag_schemes import entities
from turnwise.data.annotations.annotated import LabeledText
from turnwise.evaluation.metric import FloatArray, MetricDefinition, ratio

T = TypeVar("T")
MIN_PROBABILITY = 1e-12  # of a true label in the log loss


@dataclass(frozen=True)
class ClassifierSums:
    """The statistics of one metric of a classifier (implements `MetricSums`).

    Attributes:
        metric: the metric.
        sums_GK: statistics of every text or sentence.
    """

    metric: MetricDefinition
    sums_GK: FloatArray

    @property
    def groups(self) -> Sequence[str]:
        """Numbers of the texts or sentences."""
        return [str(number) for number in range(len(self.sums_GK))]

    @property
    def sums_SGK(self) -> FloatArray:
        """The statistics once, since a classifier does not sample."""
        return self.sums_GK[None]


class ShareMetric(MetricDefinition):
    """A share of right outcomes; sums: right outcomes, all outcomes."""

    BETTER, RANGE, VALUE_FORMAT = "higher", (0.0, 1.0), ".1%"


class AccuracyMetric(ShareMetric):
    """Accuracy of texts."""

    NAME, LABEL, COUNTS_FOR_VERDICT, IS_BINARY = "accuracy", "accuracy", True, True
    DESCRIPTION = "Share of texts with the right label; if a text may have several, with exactly the right ones."


class TokenAccuracyMetric(ShareMetric):
    """Accuracy of words."""

    NAME, LABEL = "token_accuracy", "word accuracy"
    DESCRIPTION = "Share of words with the right tag. High for any tagger if most words are O."


class PlainTokenAccuracyMetric(TokenAccuracyMetric):
    """Accuracy of words with plain tags, such as parts of speech, where it decides the verdict."""

    COUNTS_FOR_VERDICT = True
    DESCRIPTION = "Share of words with the right tag."


class SentenceAccuracyMetric(ShareMetric):
    """Share of sentences without an error."""

    NAME, LABEL, IS_BINARY = "sentence_accuracy", "sentence accuracy", True
    DESCRIPTION = "Share of sentences whose tags are all right."


class F1Metric(MetricDefinition):
    """F1 of all cases together; sums: right, wrong and missed cases."""

    BETTER, RANGE, COUNTS_FOR_VERDICT = "higher", (0.0, 1.0), True

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """Return F1; NaN without any case."""
        return f1(totals_XK)


class EntityF1Metric(F1Metric):
    """Micro-averaged F1 of entities."""

    NAME, LABEL = "entity_f1", "entity F1"
    DESCRIPTION = "F1 of the entities; start, end and label have to be right (micro average, as CoNLL-2000)."


class MicroF1Metric(F1Metric):
    """Micro-averaged F1 of the labels of multi-label texts."""

    NAME, LABEL = "micro_f1", "micro F1"
    DESCRIPTION = "F1 of all predicted labels together."


class MacroF1Metric(MetricDefinition):
    """Mean F1 of the labels; sums: right, predicted and true cases of every label, `K = 3 L`."""

    NAME, LABEL, BETTER, RANGE, COUNTS_FOR_VERDICT = "macro_f1", "macro F1", "higher", (0.0, 1.0), True
    DESCRIPTION = "Mean F1 of the labels that occur or are predicted; rare labels count as much as frequent ones."

    def value(self, totals_XK: FloatArray) -> FloatArray:
        """Return the mean over the labels that occur or are predicted."""
        right_XL, total_XL = self._right_and_total(totals_XK)
        f1_XL = 2 * right_XL / np.where(total_XL > 0, total_XL, 1)
        return ratio(f1_XL.sum(axis=-1), (total_XL > 0).sum(axis=-1).astype(np.float64))

    def gradient(self, totals_XK: FloatArray) -> FloatArray:
        """Return the derivatives by the three sums of every label; 0 for labels that do not occur."""
        right_XL, total_XL = self._right_and_total(totals_XK)
        occurs_XL = total_XL > 0
        total_XL = np.where(occurs_XL, total_XL, 1)
        scale_XL = occurs_XL / np.maximum(occurs_XL.sum(axis=-1, keepdims=True), 1)
        by_right_XL, by_total_XL = 2 / total_XL * scale_XL, -2 * right_XL / total_XL**2 * scale_XL
        return np.concatenate([by_right_XL, by_total_XL, by_total_XL], axis=-1)

    @staticmethod
    def _right_and_total(totals_XK: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Right cases, and predicted and true cases together, of every label."""
        right_XL, predicted_XL, true_XL = np.split(totals_XK, 3, axis=-1)
        return right_XL, predicted_XL + true_XL


class EntityMacroF1Metric(MacroF1Metric):
    """Mean F1 of the labels of entities."""

    NAME, LABEL, COUNTS_FOR_VERDICT = "entity_macro_f1", "entity macro F1", False
    DESCRIPTION = "Mean entity F1 of the labels."


class LogLossMetric(MetricDefinition):
    """Mean of −log(probability of the true label)."""

    NAME, LABEL, BETTER = "log_loss", "log loss", "lower"
    DESCRIPTION = "Mean of −log(probability of the true label); also judges how sure the classifier is."


def text_metrics(
    texts: Sequence[LabeledText],
    predictions: Sequence[TextLabels],
    labels: Sequence[str],
    *,
    is_multi_label: bool = False,
) -> dict[str, ClassifierSums]:
    """The metrics of a classifier of texts, by name.

    Args:
        texts: texts with their true labels; one without a label is right if none is predicted.
        predictions: the predicted labels.
        labels: all labels of texts and predictions; the same for all classifiers that are compared.
        is_multi_label: a text may have several labels.
    """
    targets = [set(text.labels) for text in texts]
    predicted = [set(prediction.labels) for prediction in predictions]
    pairs = list(zip(targets, predicted, strict=True))
    results = [
        ClassifierSums(AccuracyMetric(), _rows([(a == b, 1) for a, b in pairs], 2)),
        ClassifierSums(MacroF1Metric(), _sums_by_label(targets, predicted, labels, str)),
    ]
    if is_multi_label:
        sums_GK = _rows([(len(a & b), len(b - a), len(a - b)) for a, b in pairs], 3)
        results.append(ClassifierSums(MicroF1Metric(), sums_GK))
    elif (losses_GK := _log_losses(texts, predictions)) is not None:
        results.append(ClassifierSums(LogLossMetric(), losses_GK))
    return {result.metric.NAME: result for result in results}


def tag_metrics(
    targets: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], labels: Sequence[str]
) -> dict[str, ClassifierSums]:
    """The metrics of a tagger, by name.

    Args:
        targets: the true tags of every sentence.
        predictions: the predicted tags.
        labels: all labels of entities; empty if the tags are plain. The same for all taggers that are compared.
    """
    pairs = [list(zip(target, tags, strict=True)) for target, tags in zip(targets, predictions, strict=True)]
    right_GK = _rows([(sum(a == b for a, b in sentence), len(sentence)) for sentence in pairs], 2)
    is_right_GK = _rows([(right == count, 1) for right, count in right_GK], 2)
    results = [
        ClassifierSums(TokenAccuracyMetric() if labels else PlainTokenAccuracyMetric(), right_GK),
        ClassifierSums(SentenceAccuracyMetric(), is_right_GK),
    ]
    if labels:
        true, predicted = ([set(entities(tags)) for tags in side] for side in (targets, predictions))
        macro_GK = _sums_by_label(true, predicted, labels, lambda entity: entity.label)
        results = [
            ClassifierSums(EntityF1Metric(), entity_sums(targets, predictions)),
            ClassifierSums(EntityMacroF1Metric(), macro_GK),
            *results,
        ]
    return {result.metric.NAME: result for result in results}


def entity_sums(targets: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> FloatArray:
    """Right, wrong and missed entities of every sentence, `(G, 3)`."""
    rows = []
    for target, prediction in zip(targets, predictions, strict=True):
        true, predicted = set(entities(target)), set(entities(prediction))
        rows.append((len(true & predicted), len(predicted - true), len(true - predicted)))
    return _rows(rows, 3)


def f1(totals_XK: FloatArray) -> FloatArray:
    """F1 from sums of right, wrong and missed cases; NaN without any case. With one label per text, the accuracy."""
    right, wrong, missed = (totals_XK[..., column] for column in range(3))
    return ratio(2 * right, 2 * right + wrong + missed)


def _rows(rows: Sequence[Sequence[float]], num_columns: int) -> FloatArray:
    return np.array(rows, dtype=np.float64).reshape(len(rows), num_columns)


def _sums_by_label(
    targets: Sequence[Set[T]], predictions: Sequence[Set[T]], labels: Sequence[str], label_of: Callable[[T], str]
) -> FloatArray:
    """Right, predicted and true cases of every label, `(G, 3 L)`: first the right cases of all labels."""
    index_of = {label: number for number, label in enumerate(labels)}
    sums_G3L = np.zeros((len(targets), 3, len(labels)))
    for number, (target, prediction) in enumerate(zip(targets, predictions, strict=True)):
        for column, cases in enumerate((target & prediction, prediction, target)):
            for case in cases:
                sums_G3L[number, column, index_of[label_of(case)]] += 1
    return sums_G3L.reshape(len(targets), 3 * len(labels))


def _log_losses(texts: Sequence[LabeledText], predictions: Sequence[TextLabels]) -> FloatArray | None:
    """Loss and 1 for every text with a label, zeros for others; None if a classifier does not know a label."""
    rows = []
    for text, prediction in zip(texts, predictions, strict=True):
        if not text.labels:
            rows.append((0.0, 0.0))
            continue
        probability = probability_of(prediction, text.labels[0])
        if probability is None:
            return None
        rows.append((-math.log(max(probability, MIN_PROBABILITY)), 1.0))
    return _rows(rows, 2)


def probability_of(prediction: TextLabels, label: str) -> float | None:
    """The probability of a label; None if the classifier does not know it."""
    return next((score.probability for score in prediction.scores if score.label == label), None)
