"""Confusion of labels: how often a true label was predicted as another one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.core.tag_schemes import split_tag

NO_LABEL = "(none)"  # a text without a label, or a prediction of none
MAX_LABELS = 30  # of a displayed matrix


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Counts of true and predicted labels.

    Attributes:
        labels: labels of rows (true) and columns (predicted).
        counts: `counts[i][j]` cases of label i were predicted as label j.
        num_hidden: labels that are left out.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    num_hidden: int = 0


@dataclass(frozen=True, slots=True)
class Confusion:
    """A wrong prediction and its frequency.

    Attributes:
        target: the true label.
        prediction: the predicted label.
        count: number of cases.
        support: number of cases with the true label.
    """

    target: str
    prediction: str
    count: int
    support: int


class ConfusionCounts:
    """Counts of all pairs of a true and a predicted label.

    Args:
        targets: true label of every case.
        predictions: predicted label of every case.
        labels: all labels in the order of the matrix.
    """

    def __init__(self, targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self.counts = Counter(zip(targets, predictions, strict=True))
        self._support = Counter(targets)

    def largest(self, limit: int | None = None) -> list[Confusion]:
        """The most frequent wrong predictions; those with equal counts in the order of their labels."""
        errors = [
            Confusion(target, prediction, count, self._support[target])
            for (target, prediction), count in self.counts.items()
            if target != prediction
        ]
        return sorted(errors, key=lambda error: (-error.count, error.target, error.prediction))[:limit]

    def matrix(self, max_labels: int = MAX_LABELS) -> ConfusionMatrix:
        """The matrix of all labels; of the labels with the most confusions, if there are more than `max_labels`."""
        num_errors: Counter[str] = Counter()
        for error in self.largest():
            num_errors[error.target] += error.count
            num_errors[error.prediction] += error.count
        labels = self._labels
        if len(labels) > max_labels:
            most_confused = {label for label, _ in num_errors.most_common(max_labels)}
            labels = tuple(label for label in labels if label in most_confused)
        counts = tuple(tuple(self.counts[target, prediction] for prediction in labels) for target in labels)
        return ConfusionMatrix(labels, counts, len(self._labels) - len(labels))


def count_confusions(targets: Sequence[str], predictions: Sequence[str], labels: Sequence[str]) -> ConfusionCounts:
    """Count the labels of texts; without those that do not occur, and with "(none)" last."""
    occurring = {*targets, *predictions}
    names = [label for label in labels if label in occurring]
    names += sorted(occurring - {*names, NO_LABEL}) + [NO_LABEL] * (NO_LABEL in occurring)
    return ConfusionCounts(targets, predictions, names)


def count_tag_confusions(targets: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> ConfusionCounts:
    """Count the labels of words, without the prefixes of their tags: a word of a person taken for a place."""
    true, predicted = ([split_tag(tag)[1] for tags in side for tag in tags] for side in (targets, predictions))
    return ConfusionCounts(true, predicted, sorted({*true, *predicted}))
