"""The worst errors of a classifier, with their texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.core.classification import TextLabels
from turnwise.core.tag_schemes import OUTSIDE, entities, split_tag
from turnwise.data.annotations.annotated import LabeledText, TaggedSentence
from turnwise.evaluation.classification.classifier_metrics import probability_of
from turnwise.evaluation.classification.confusion import NO_LABEL

MAX_ERRORS = 20

MarkedText = tuple[tuple[str, str], ...]
"""Pieces of a text, each with its label; "" for text without one."""


@dataclass(frozen=True, slots=True)
class TextError:
    """A text with a wrong prediction.

    Attributes:
        text: the text.
        target: the true label or labels.
        prediction: the predicted ones.
        probability: the probability of the most probable label.
        target_probability: that of the true label; None if there are several, or none.
    """

    text: str
    target: str
    prediction: str
    probability: float
    target_probability: float | None


@dataclass(frozen=True, slots=True)
class SentenceError:
    """A sentence with a wrong tag.

    Attributes:
        target: the sentence with its true spans.
        prediction: the sentence with the predicted spans.
        probability: the largest probability of a wrong tag.
    """

    target: MarkedText
    prediction: MarkedText
    probability: float


def worst_texts(
    texts: Sequence[LabeledText], predictions: Sequence[TextLabels], limit: int = MAX_ERRORS
) -> list[TextError]:
    """The wrong predictions with the lowest probability of the true label (the highest loss)."""
    errors = []
    for text, prediction in zip(texts, predictions, strict=True):
        if set(text.labels) == set(prediction.labels):
            continue
        target_probability = probability_of(prediction, text.labels[0]) if len(text.labels) == 1 else None
        target, predicted = (join_labels(labels) for labels in (text.labels, prediction.labels))
        errors.append(TextError(text.text, target, predicted, prediction.scores[0].probability, target_probability))
    return sorted(errors, key=_confidence, reverse=True)[:limit]


def worst_sentences(
    sentences: Sequence[TaggedSentence],
    predictions: Sequence[tuple[Sequence[str], Sequence[float]]],
    limit: int = MAX_ERRORS,
) -> list[SentenceError]:
    """The sentences whose wrong tags have the highest probability.

    Args:
        sentences: sentences with their true tags.
        predictions: tags and their probabilities.
        limit: maximum number of sentences.
    """
    errors = []
    for sentence, (tags, probabilities) in zip(sentences, predictions, strict=True):
        wrong = [p for p, target, tag in zip(probabilities, sentence.tags, tags, strict=True) if target != tag]
        if wrong:
            errors.append(
                SentenceError(mark_spans(sentence.tokens, sentence.tags), mark_spans(sentence.tokens, tags), max(wrong))
            )
    return sorted(errors, key=lambda error: -error.probability)[:limit]


def join_labels(labels: Sequence[str]) -> str:
    """Labels as text."""
    return ", ".join(labels) or NO_LABEL


def mark_spans(tokens: Sequence[str], tags: Sequence[str]) -> MarkedText:
    """The sentence in pieces: entities of IOB2 tags, words with a plain label other than "O", and the text between."""
    spans = [(entity.start, entity.end, entity.label) for entity in entities(tags)]
    spans += [(n, n + 1, tag) for n, tag in enumerate(tags) if tag != OUTSIDE and not split_tag(tag)[0]]
    pieces: list[tuple[str, str]] = []
    position = 0
    for start, end, label in [*sorted(spans), (len(tokens), len(tokens), "")]:
        if position < start:
            pieces.append((" ".join(tokens[position:start]), ""))
        if start < end:
            pieces.append((" ".join(tokens[start:end]), label))
        position = end
    return tuple(pieces)


def _confidence(error: TextError) -> float:
    """How sure the classifier was of its error: 1 − probability of the true label, else that of the predicted one."""
    return error.probability if error.target_probability is None else 1 - error.target_probability
