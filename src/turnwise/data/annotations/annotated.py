"""Annotated texts as the readers yield them."""

from collections.abc import Sequence
from dataclasses import dataclass


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
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    document: int = 0

    def __post_init__(self) -> None:
        assert len(self.tokens) == len(self.tags), "one tag per token"


Annotated = LabeledText | TaggedSentence


def label_names(items: Sequence[Annotated]) -> list[str]:
    """All labels or tags of a data set in order of their names; "O" comes first."""
    names = {name for item in items for name in (item.labels if isinstance(item, LabeledText) else item.tags)}
    return sorted(names, key=lambda name: (name != OUTSIDE, name))


OUTSIDE = "O"  # the tag of a token outside of entities
