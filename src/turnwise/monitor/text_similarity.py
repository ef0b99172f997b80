"""Normal form of short texts, and whether one is a near copy of another.

A near copy differs in case, punctuation, links, mentions, hashtags at the end, a few added words and typing errors.
Texts that differ in a number, or in a word that is not a misspelling, are different opinions: "up 3 %" and "up 5 %",
"beats" and "misses". Of a long text only the beginning is compared, so that no text takes more than milliseconds.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher
from zlib import crc32

SHINGLE = 4  # characters
MIN_JACCARD = 0.6
MAX_MISSPELLINGS = 4  # words
MIN_WORD_SIMILARITY = 0.75  # of a word and its misspelling
MAX_WORD_CHARACTERS = 40  # longer words have no misspellings: comparing two takes quadratic time
MAX_CHARACTERS = 2000  # of the normal form
MAX_RAW_CHARACTERS = 8000  # with links, mentions and tags; some characters become 18 in NFKC
_LINK = re.compile(r"(?:https?://|www\.|t\.co/|pic\.twitter\.com/)\S+")
_REPEAT_PREFIX = re.compile(r"^\W*(?:rt|via|mt)\b[\s:]*(?=@)")
_MENTION = re.compile(r"@\w+:?")
_TAG = re.compile(r"(?:#\w+)*\W*")
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d]+")


def normalize(text: str) -> str:
    """Return the words and numbers of a text, without case, punctuation, links, mentions and hashtags at the end."""
    text = " ".join(text.split())[:MAX_RAW_CHARACTERS]
    text = unicodedata.normalize("NFKC", text)[:MAX_RAW_CHARACTERS].casefold()
    text = _LINK.sub(" ", text)
    words = _MENTION.sub(" ", _REPEAT_PREFIX.sub(" ", text)).split()
    while len(words) > 1 and _TAG.fullmatch(words[-1]):
        words.pop()
    return " ".join(_TOKEN.findall(" ".join(words)))[:MAX_CHARACTERS]


def shingles(normalized: str) -> set[int]:
    """Return hashes of 32 bits of the character shingles of a normalized text."""
    data = normalized.encode()
    return {crc32(data[start : start + SHINGLE]) for start in range(max(1, len(data) - SHINGLE + 1))}


def is_near_copy(normalized: str, earlier: str) -> bool:
    """Return whether two normalized texts are near copies of each other."""
    if normalized == earlier:
        return True
    words, earlier_words = normalized.split(), earlier.split()
    # Most candidates fail these tests already on the sets, which are much faster than counters.
    new, missing = set(words) - set(earlier_words), set(earlier_words) - set(words)
    if min(len(new), len(missing)) > MAX_MISSPELLINGS or _has_number(new) or _has_number(missing):
        return False
    added, removed = Counter(words) - Counter(earlier_words), Counter(earlier_words) - Counter(words)
    if min(added.total(), removed.total()) > MAX_MISSPELLINGS or _has_number(added) or _has_number(removed):
        return False
    left, right = shingles(normalized), shingles(earlier)
    if len(left & right) < MIN_JACCARD * len(left | right):
        return False
    return not _has_substitution(list(added.elements()), list(removed.elements()))


def _has_number(words: Iterable[str]) -> bool:
    return any(word[0].isdigit() for word in words)


def _has_substitution(added: list[str], removed: list[str]) -> bool:
    """Whether words were replaced by others: words remain on both sides after misspellings are paired."""
    for word in list(added):
        match = next((candidate for candidate in removed if _is_misspelling(word, candidate)), None)
        if match is not None:
            added.remove(word)
            removed.remove(match)
    # Two words joined by a typing error, or one that was split, are no substitution.
    return bool(added and removed) and sorted("".join(added)) != sorted("".join(removed))


def _is_misspelling(word: str, candidate: str) -> bool:
    if sorted(word) == sorted(candidate):
        return True
    if abs(len(word) - len(candidate)) > 2 or len(word) > MAX_WORD_CHARACTERS:
        return False
    matcher = SequenceMatcher(None, word, candidate, autojunk=False)
    return matcher.quick_ratio() >= MIN_WORD_SIMILARITY and matcher.ratio() >= MIN_WORD_SIMILARITY
