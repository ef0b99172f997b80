"""The labelled spans of a text from the predicted tags of its words."""

from collections.abc import Sequence

from turnwise.core.classification import Span
from turnwise.core.tag_schemes import OUTSIDE, entities, split_tag
from turnwise.text.words import Word

Prediction = tuple[str, float]
"""The tag of a word and its probability."""


def fill_gaps(predictions: Sequence[Prediction | None], default: str) -> tuple[list[str], list[float]]:
    """Tags and probabilities of the words of a sentence, of which some have no prediction because they have no token.

    Such a word continues the entity around it, with the probability of the next word: the model read the words beside
    it as neighbours. Outside of entities its tag is `default`, with probability 0.
    """
    filled = list(predictions)
    following: Prediction | None = None
    for index in reversed(range(len(filled))):
        following = filled[index] = filled[index] or following
    previous = OUTSIDE
    for index, prediction in enumerate(predictions):
        if prediction is None:
            next_tag = filled[index]
            if next_tag is None or not _continues(previous, next_tag[0]):
                filled[index] = default, 0.0
        else:
            previous = prediction[0]
    complete = [prediction for prediction in filled if prediction is not None]
    return [tag for tag, _ in complete], [probability for _, probability in complete]


def _continues(previous: str, tag: str) -> bool:
    """True if `tag` continues the entity of `previous`, in the scheme IOB2."""
    prefix, label = split_tag(tag)
    previous_prefix, previous_label = split_tag(previous)
    return prefix == "I" and bool(previous_prefix) and label == previous_label


def spans_of(text: str, words: Sequence[Word], tags: Sequence[str], probabilities: Sequence[float]) -> tuple[Span, ...]:
    """The labelled spans: entities of IOB2 tags, or every word with a plain label other than "O"."""
    ranges = [(entity.start, entity.end, entity.label) for entity in entities(tags)]
    ranges += [(n, n + 1, tag) for n, tag in enumerate(tags) if tag != OUTSIDE and not split_tag(tag)[0]]
    spans = []
    for first, last, label in sorted(ranges):
        start, end = words[first].start, words[last - 1].end
        spans.append(Span(start, end, text[start:end], label, min(probabilities[first:last])))
    return tuple(spans)
