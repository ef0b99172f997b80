"""Words of a text with their offsets, split as data sets of tagged words usually split them.

A word is a run of letters and digits, with hyphens and apostrophes inside; a number with points and commas inside, such
as 10,000.50; or an abbreviation of single letters, such as U.S. A punctuation mark or symbol is a word, and so is a
Chinese or Japanese character. Data sets differ in details: a tagger is best given words split like its training data.
"""

import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import groupby

SENTENCE_ENDS = frozenset(".!?…。！？")
_CJK = "\u3040-\u30ff\u4e00-\u9fff"


@dataclass(frozen=True, slots=True)
class Word:
    """A word: characters `start` up to `end` of the text."""

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """Return the words of a text, in order."""
    return [Word(match.group(), match.start(), match.end()) for match in _pattern().finditer(text)]


def split_sentences(text: str) -> list[list[Word]]:
    """Return the words of every sentence; one ends after a full stop, question or exclamation mark, or with a line."""
    sentences: list[list[Word]] = [[]]
    for word in split_words(text):
        previous = sentences[-1][-1] if sentences[-1] else None
        if previous and (previous.text in SENTENCE_ENDS or "\n" in text[previous.end : word.start]):
            sentences.append([])
        sentences[-1].append(word)
    return [sentence for sentence in sentences if sentence]


@cache
def _pattern() -> re.Pattern[str]:
    """The expression of a word. `re` has no class for combining marks, which belong to the letter before them."""
    marks = (code for code in range(0x300, sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith("M"))
    runs = [[code for _, code in run] for _, run in groupby(enumerate(marks), key=lambda pair: pair[1] - pair[0])]
    mark = "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)
    letter = f"[^\\W_{_CJK}][{mark}]*"
    return re.compile(
        rf"[{_CJK}][{mark}]*|\d+(?:[.,]\d+)+|(?:[^\W\d_{_CJK}]\.){{2,}}|(?:{letter})+(?:[-'’](?:{letter})+)*|[^\w\s]|_|\w"
    )
