"""Words of a text with their places, split as data sets of tagged words split them.

A word is a run of letters and digits, also with hyphens and apostrophes inside; a punctuation mark or symbol is a word,
and so is a Chinese or Japanese character.
"""

import re
from dataclasses import dataclass

WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u4e00-\u9fff]+(?:[-'’][^\W_]+)*|[^\w\s]|_")


@dataclass(frozen=True, slots=True)
class Word:
    """A word: characters `start` up to `end` of the text."""

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """Return the words of a text, in order."""
    return [Word(match.group(), match.start(), match.end()) for match in WORD.finditer(text)]
