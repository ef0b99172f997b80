"""Features of words beside their tokens: characters, shape (case and digits), and the row of a word vector.

An uncased tokenizer drops the case of a word, and every sub-word tokenizer hides how a rare word is spelled; both tell
names from other words.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

NUM_CHARACTERS = 20  # of a word; longer words keep their beginning and their end
NUM_CHARACTER_IDS = 256
FIRST_SHARED_ID = 128  # of the characters that are not in ASCII
SHAPE_COLUMN = 1  # of the features: `WordShape`
START_COLUMN = 2  # of the features: 1 if the word starts a sentence
CHARACTERS_FROM = 3  # the first column of the characters
NUM_FEATURES = CHARACTERS_FROM + NUM_CHARACTERS


class WordShape(IntEnum):
    """Case and kinds of characters of a word."""

    LOWER = 1
    CAPITALIZED = 2
    UPPER = 3
    SINGLE_UPPER = 4
    MIXED_CASE = 5
    INITIALS = 6  # "J." or "U.S."
    CAPITALIZED_PARTS = 7  # "Jean-Paul"
    DIGITS = 8
    NUMBER = 9  # digits with marks: "10,000.50", "1996-08-22"
    LETTERS_AND_DIGITS = 10
    PUNCTUATION = 11
    WITHOUT_CASE = 12  # letters of scripts such as Chinese


SHAPES_WITH_LETTERS = tuple(set(WordShape) - {WordShape.DIGITS, WordShape.NUMBER, WordShape.PUNCTUATION})


def encode_words(
    words: Sequence[str], vector_rows: Mapping[str, int], is_start: Sequence[bool] = ()
) -> NDArray[np.int32]:
    """The features of words.

    Args:
        words: the words.
        vector_rows: rows of the table of word vectors, by word; row 0 stands for all words without a vector.
        is_start: for every word whether it starts a sentence. Default: none is known to.

    Returns:
        `(len(words), NUM_FEATURES)`: row of the word vector, shape, start of a sentence, ids of the characters (0 is
        padding).
    """
    features = np.zeros((len(words), NUM_FEATURES), dtype=np.int32)
    for row, word in zip(features, words, strict=True):
        ids = [character_id(character) for character in _shorten(word)]
        row[0], row[SHAPE_COLUMN] = find_vector_row(word, vector_rows), word_shape(word)
        row[CHARACTERS_FROM : CHARACTERS_FROM + len(ids)] = ids
    if is_start:
        features[:, START_COLUMN] = is_start
    return features


def find_vector_row(word: str, vector_rows: Mapping[str, int]) -> int:
    """The row of a word, or of its lower-case form, or of that with all digits as 0; 0 if there is none."""
    lower = word.lower()
    for form in (word, lower, "".join("0" if character.isdigit() else character for character in lower)):
        if form in vector_rows:
            return vector_rows[form]
    return 0


def character_id(character: str) -> int:
    """Id from 1 to 255: the code of ASCII characters; other characters share ids."""
    code = ord(character)
    return max(code, 1) if code < FIRST_SHARED_ID else FIRST_SHARED_ID + code % FIRST_SHARED_ID


def word_shape(word: str) -> WordShape:
    """The shape of a word."""
    letters = [character for character in word if character.isalpha()]
    has_digit = any(character.isdigit() for character in word)
    if not letters:
        if not has_digit:
            return WordShape.PUNCTUATION
        return WordShape.DIGITS if word.isdigit() else WordShape.NUMBER
    if has_digit:
        return WordShape.LETTERS_AND_DIGITS
    is_upper = [character.isupper() for character in letters]
    if not any(is_upper):
        return WordShape.LOWER if any(character.islower() for character in letters) else WordShape.WITHOUT_CASE
    if all(is_upper):
        if "." in word:
            return WordShape.INITIALS
        return WordShape.SINGLE_UPPER if len(letters) == 1 else WordShape.UPPER
    if is_upper[0] and not any(is_upper[1:]):
        return WordShape.CAPITALIZED
    pieces = [piece for piece in word.replace("'", "-").split("-") if piece]
    if len(pieces) > 1 and all(piece[0].isupper() and not any(map(str.isupper, piece[1:])) for piece in pieces):
        return WordShape.CAPITALIZED_PARTS
    return WordShape.MIXED_CASE


def _shorten(word: str) -> str:
    half = NUM_CHARACTERS // 2
    return word if len(word) <= NUM_CHARACTERS else word[:half] + word[-half:]
