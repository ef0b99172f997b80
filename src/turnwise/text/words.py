"""Words of a text with their offsets, split as data sets of tagged words usually split them.

A word is a run of letters and digits, with hyphens and apostrophes inside; a number with points and commas inside, such
as 10,000.50; an abbreviation of single letters, such as U.S.; or an initial or a title before a name, with its full
stop. A punctuation mark or symbol is a word, and so is a Chinese or Japanese character. Invisible characters, such as
those for the direction of text, separate words; joiners belong to the word. Data sets differ in details: a tagger is
best given words split like its training data.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby

SENTENCE_ENDS = frozenset(".!?…。！？")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UPPER = "A-ZÀ-ÖØ-ÞΑ-ΩА-Я"  # `re` has no class for capital letters
_TITLES = "Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Hon|Gov|Sen|Rep|Gen|Col|Lt|Capt|Sgt|Maj|Cmdr|Adm|St|Mt|Ft|Sr|Sra|Mme|Mlle"
_JOINERS = "\u00ad\u200c\u200d"  # soft hyphen, zero-width non-joiner (Persian) and joiner (emoji): inside of words
# Control characters, zero-width spaces, and marks of the direction of text: in no word, as white space.
_INVISIBLE = (
    "\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word: characters `start` up to `end` of the text."""

    text: str
    start: int
    end: int


def split_words(text: str) -> list[Word]:
    """Return the words of a text, in order."""
    return list(_iterate_words(text))


def split_sentences(text: str) -> list[list[Word]]:
    """Return the words of every sentence; one ends after a full stop, question or exclamation mark, or with a line."""
    return list(iterate_sentences(text))


def iterate_sentences(text: str) -> Iterator[list[Word]]:
    """Yield the words of every sentence, as in `split_sentences`."""
    sentence: list[Word] = []
    for word in _iterate_words(text):
        if sentence and (sentence[-1].text[0] in SENTENCE_ENDS or "\n" in text[sentence[-1].end : word.start]):
            yield sentence
            sentence = []
        sentence.append(word)
    if sentence:
        yield sentence


def _iterate_words(text: str) -> Iterator[Word]:
    return (Word(match.group(), match.start(), match.end()) for match in _pattern().finditer(text))


@cache
def _pattern() -> re.Pattern[str]:
    """The expression of a word. `re` has no class for combining marks, which belong to the letter before them."""
    marks = (code for code in range(0x300, sys.maxunicode + 1) if unicodedata.category(chr(code)).startswith("M"))
    runs = [[code for _, code in run] for _, run in groupby(enumerate(marks), key=lambda pair: pair[1] - pair[0])]
    mark = f"[{_JOINERS}{''.join(f'{chr(run[0])}-{chr(run[-1])}' for run in runs)}]*"
    letter = f"[^\\W_{_CJK}]{mark}"
    return re.compile(
        rf"(?:[{_UPPER}]|{_TITLES})\.(?=[^\S\n]+[{_UPPER}])|[{_CJK}]{mark}"
        rf"|\d+(?:[.,]\d+)+|(?:[^\W\d_{_CJK}]\.){{2,}}|(?:{letter})+(?:[-'’](?:{letter})+)*"
        rf"|[^\w\s{_INVISIBLE}]{mark}|_|\w"
    )
