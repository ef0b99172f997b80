"""Annotated texts as the readers yield them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal


@dataclass(frozen=True, slots=True)
class LabeledText:
    """A text with its labels.

    Attributes:
        text: the text.
        labels: one label, or any number of them (also none) if the data are multi-label.
    """

    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """A sentence whose tokens have tags.

    Attributes:
        tokens: words and punctuation marks as the data separate them.
        tags: one per token: "B-LABEL" for the first token of an entity, "I-LABEL" for its further tokens, "O" outside
            (scheme IOB2); or plain labels, such as parts of speech.
        document: number of the document that the sentence is from; neighbours in the same document are its context.
        sentence_starts: indices of the tokens that start a sentence; several if sentences were joined
            (`join_sentences`), none in a later part of a long one.
        before, after: words of the document before and after the sentence; see `with_context`.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    document: int = 0
    sentence_starts: tuple[int, ...] = (0,)
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.tokens) == len(self.tags), "one tag per token"


Annotated = LabeledText | TaggedSentence
AnnotationKind = Literal["labels", "tags"]


def with_context(sentences: Sequence[TaggedSentence], num_words: int) -> list[TaggedSentence]:
    """Return the sentences with up to `num_words` words of their document before and after them."""
    return [
        replace(
            sentence,
            before=_neighbours(sentences, number, num_words, -1)[::-1],
            after=_neighbours(sentences, number, num_words, 1),
        )
        for number, sentence in enumerate(sentences)
    ]


def group_sentences(sentences: Sequence[TaggedSentence], num_words: int) -> list[list[TaggedSentence]]:
    """Group neighbours of the same document, in order, with at most `num_words` words; a longer sentence is alone."""
    groups: list[list[TaggedSentence]] = []
    size = 0
    for sentence in sentences:
        size += len(sentence.tokens)
        if not groups or groups[-1][0].document != sentence.document or size > num_words:
            groups.append([])
            size = len(sentence.tokens)
        groups[-1].append(sentence)
    return groups


def join_sentences(sentences: Sequence[TaggedSentence]) -> TaggedSentence:
    """Several sentences of a document as one, without context."""
    tokens = tuple(token for sentence in sentences for token in sentence.tokens)
    tags = tuple(tag for sentence in sentences for tag in sentence.tags)
    starts = accumulate((len(sentence.tokens) for sentence in sentences[:-1]), initial=0)
    return TaggedSentence(tokens, tags, sentences[0].document, tuple(starts))


def _neighbours(sentences: Sequence[TaggedSentence], number: int, num_words: int, step: int) -> tuple[str, ...]:
    """Up to `num_words` words of the document in one direction, the nearest first."""
    words: list[str] = []
    neighbour = number + step
    while len(words) < num_words and 0 <= neighbour < len(sentences):
        if sentences[neighbour].document != sentences[number].document:
            break
        words += sentences[neighbour].tokens[::step]
        neighbour += step
    return tuple(words[:num_words])
