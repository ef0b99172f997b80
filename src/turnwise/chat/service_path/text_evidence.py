"""What a text states that can be looked up in another text: content words, numbers, names and sentences.

Latin words count without their commonest endings, CJK texts as pairs of neighbouring characters.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[^\W_{_CJK}]+(?:['’][^\W\d_]+)?")
_CJK_RUN = re.compile(rf"[{_CJK}]+")
# Digits with separators, such as 1,000.50 or 12:30 or 2026-01-05; a letter code such as LW-123456 is one number.
_NUMBER = re.compile(rf"(?<![^\W_{_CJK}])(?:[A-Z]{{1,4}}[-‑]?)?\d+(?:[.,:/\-‑–]\d+)*")
_CHINESE_NUMBER = re.compile(r"[零〇一二两三四五六七八九十百千万亿半]+(?=[个天日月年周元块角分折点时号小次件位])")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_NAME = re.compile(r"\b[A-Z][\w'’]*[a-z][\w'’]*(?:\s+[A-Z][\w'’]*)*|\b[A-Z]{2,}\b")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|neither|nor|cannot|without|\w+n['’]t)\b|不|没|無|无|未|别|勿", re.IGNORECASE
)
_ENDINGS = ("ing", "ed", "es", "s", "ly")
_STOP_WORD_TEXT = """
a an and any are as at be been but by can could did do does for from had has have he her his how i if in into
is it its just me my no not of on or our please she should so some than that the their them then there these
they this to too up us was we were what when where which who why will with would you your
"""
_STOP_WORDS = frozenset(_STOP_WORD_TEXT.split())
_STOP_CHARACTERS = frozenset("的了吗呢吧啊呀么我你您他她它们是在有和与就都也还请这那哪个")


@lru_cache(maxsize=4096)
def content_words(text: str) -> frozenset[str]:
    """The words of a text that carry its content."""
    normalized = unicodedata.normalize("NFKC", text).casefold()
    words = {_stem(word) for word in _WORD.findall(normalized) if word not in _STOP_WORDS}
    for run in _CJK_RUN.findall(normalized):
        characters = [character for character in run if character not in _STOP_CHARACTERS]
        words.update(characters, (left + right for left, right in pairwise(characters)))
    return frozenset(words)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def count_words(text: str) -> float:
    """Number of words; two CJK characters count as one."""
    return len(_WORD.findall(text)) + sum(map(len, _CJK_RUN.findall(text))) / 2


def numbers(text: str) -> frozenset[str]:
    """Numbers, dates, times and codes as written, without separators of thousands."""
    normalized = unicodedata.normalize("NFKC", text)
    digits = (re.sub(r",(?=\d{3}(?!\d))", "", number).replace("‑", "-") for number in _NUMBER.findall(normalized))
    return frozenset(number.rstrip(".,:/-–") for number in digits) | frozenset(_CHINESE_NUMBER.findall(normalized))


def names(text: str) -> frozenset[str]:
    """Capitalised words that do not only begin a sentence, in lower case."""
    result = set()
    for sentence in sentences(text):
        for match in _NAME.finditer(sentence):
            words = match.group().split()
            if match.start() == 0 and not words[0].isupper():
                words = words[1:]  # the first word of a sentence is always capitalised
            result |= {word.casefold() for word in words if word.casefold() not in _STOP_WORDS}
    return frozenset(result)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without empty ones."""
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence and sentence.strip()]


def is_negated(text: str) -> bool:
    """True if a text has a word of negation."""
    return _NEGATION.search(text) is not None


def overlap(text: str, evidence: frozenset[str]) -> float:
    """Share of the content words of a text that are in `evidence`; 1 for a text without content words."""
    words = content_words(text)
    return len(words & evidence) / len(words) if words else 1.0
