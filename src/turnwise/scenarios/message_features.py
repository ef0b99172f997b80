"""Hashed features of a message for a linear classifier: words, pairs of words, and character n-grams.

Latin words give their character n-grams, which tolerate misspellings and unknown endings. Every Chinese character is a
word (see `phrases.tokenize`). Feature hashing without signs (Weinberger et al. 2009): collisions are rare.
"""

import re
from collections.abc import Iterator, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from turnwise.scenarios.phrases import tokenize

NUM_BUCKETS = 2**15
CHARACTER_NGRAMS = (3, 4, 5)
MAX_WORD_CHARS = 24  # of a Latin word; the rest is left out
_REPEATED = re.compile(r"(.)\1{2,}")
_DIGIT = re.compile(r"\d")


def message_buckets(text: str) -> NDArray[np.int64]:
    """The distinct buckets of a text's features, sorted; empty for a text without words."""
    words = tokenize(_DIGIT.sub("0", _REPEATED.sub(r"\1\1", text.casefold())))
    return np.array(sorted({crc32(feature.encode()) % NUM_BUCKETS for feature in _features(words)}), dtype=np.int64)


def _features(words: Sequence[str]) -> Iterator[str]:
    for index, word in enumerate(words):
        yield f"1 {word}"
        for distance in (1, 2):
            if index + distance < len(words):
                yield f"{distance + 1} {word} {words[index + distance]}"
        if word.isascii():
            padded = f"<{word[:MAX_WORD_CHARS]}>"
            for size in CHARACTER_NGRAMS:
                for start in range(len(padded) - size + 1):
                    yield padded[start : start + size]
        elif index + 2 < len(words):
            yield f"3 {word}{words[index + 1]}{words[index + 2]}"
