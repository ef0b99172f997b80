"""Results of a classifier: labels of a text with their probabilities, or labelled spans."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ClassifierTask = Literal["token_classification", "sequence_classification"]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its probability."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class TextLabels:
    """Result of classifying a text.

    Attributes:
        labels: the predicted labels: one, or any number of a multi-label classifier; none if the text belongs to none
            of them, by the classifier's threshold or by the class that it learned for such texts.
        scores: all labels, or as many as requested, with their probabilities, the most probable first.
        is_truncated: the text was longer than the model's context, and its end was not read.
    """

    labels: tuple[str, ...]
    scores: tuple[LabelScore, ...]
    is_truncated: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` up to `end` of a text, with their label and its probability, the lowest of its words."""

    start: int
    end: int
    text: str
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class TaggedText:
    """Result of tagging a text: its spans, in order."""

    text: str
    spans: Sequence[Span]
