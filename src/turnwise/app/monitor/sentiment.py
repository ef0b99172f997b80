"""Labels texts with the sentiment that a classifier predicts."""

from collections.abc import Sequence
from typing import Protocol

from turnwise.core.classification import TextLabels
from turnwise.core.stream_texts import StreamText

DEFAULT_NEGATIVE_LABELS = ("bearish", "negative")
NO_LABEL = ""  # sentiment of a text for which the classifier predicts none of its labels


class LabelClassifier(Protocol):
    """Predicts the labels of texts (`app.classifiers.TextClassifier`)."""

    def classify(self, texts: Sequence[str]) -> list[TextLabels]:
        """Labels of every text."""


class SentimentLabeller:
    """Gives every text a label. A label that came with the text takes precedence.

    Args:
        classifier: predicts labels; None: texts without a label stay without one.
        negative_labels: labels that count as negative; case is ignored.
    """

    def __init__(
        self, classifier: LabelClassifier | None, negative_labels: Sequence[str] = DEFAULT_NEGATIVE_LABELS
    ) -> None:
        self._classifier = classifier
        self._negative = frozenset(label.casefold() for label in negative_labels)

    def label(self, texts: Sequence[StreamText]) -> list[str | None]:
        """The label of every text; None if there is neither a label nor a classifier."""
        labels = [text.sentiment for text in texts]
        missing = [number for number, label in enumerate(labels) if label is None]
        if self._classifier is not None and missing:
            predicted = self._classifier.classify([texts[number].text for number in missing])
            for number, result in zip(missing, predicted, strict=True):
                labels[number] = result.labels[0] if result.labels else NO_LABEL
        return labels

    def is_negative(self, label: str | None) -> bool:
        """True if the label counts as negative."""
        return label is not None and label.casefold() in self._negative
