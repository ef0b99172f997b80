"""Features of words: characters, shape, word vectors."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import UserError
from turnwise.core.word_features import (
    CHARACTERS_FROM,
    NUM_CHARACTER_IDS,
    NUM_CHARACTERS,
    NUM_FEATURES,
    WordShape,
    encode_words,
    find_vector_row,
    word_shape,
)
from turnwise.core.word_vectors import read_word_vectors


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("house", WordShape.LOWER), ("House", WordShape.CAPITALIZED), ("NATO", WordShape.UPPER),
        ("A", WordShape.SINGLE_UPPER), ("McDonald", WordShape.MIXED_CASE), ("iPhone", WordShape.MIXED_CASE),
        ("J.", WordShape.INITIALS), ("U.S.", WordShape.INITIALS), ("Jean-Paul", WordShape.CAPITALIZED_PARTS),
        ("O'Neill", WordShape.CAPITALIZED_PARTS), ("1996", WordShape.DIGITS), ("10,000.50", WordShape.NUMBER),
        ("B2B", WordShape.LETTERS_AND_DIGITS), ("--", WordShape.PUNCTUATION), ("", WordShape.PUNCTUATION),
        ("伦敦", WordShape.WITHOUT_CASE),
    ],
)  # fmt: skip
def test_the_shape_of_a_word(word, shape):
    assert word_shape(word) == shape


def test_a_word_has_the_vector_of_its_nearest_form():
    rows = {"apple": 1, "Apple": 2, "0000": 3}
    assert [find_vector_row(word, rows) for word in ("Apple", "APPLE", "1996", "pear")] == [2, 1, 3, 0]


@given(st.lists(st.text(), max_size=5))
def test_every_word_has_features(words):
    features = encode_words(words, {})
    assert features.shape == (len(words), NUM_FEATURES)
    for row, word in zip(features, words, strict=True):
        characters = row[2:]
        assert np.count_nonzero(characters) == min(len(word), NUM_CHARACTERS)
        assert ((characters >= 0) & (characters < NUM_CHARACTER_IDS)).all()


def test_words_that_differ_in_case_have_different_characters():
    lower, upper = encode_words(["us", "US"], {})[:, CHARACTERS_FROM : CHARACTERS_FROM + 2].tolist()
    assert not set(lower) & set(upper)


def test_word_vectors_are_read_from_text_files(tmp_path):
    plain, compressed = tmp_path / "glove.txt", tmp_path / "word2vec.txt.gz"
    plain.write_text("the 0.5 1\nof -1 2e-1\n. . . 2 3\n")
    compressed.write_bytes(gzip.compress(b"2 2\nthe 0.5 1\nof -1 0.2\n"))
    vectors = read_word_vectors(str(plain))
    assert vectors.rows == {"the": 1, "of": 2, ". . .": 3}
    np.testing.assert_allclose(vectors.table_VD, [[0, 0], [0.5, 1], [-1, 0.2], [2, 3]])
    assert read_word_vectors(str(compressed)).rows == {"the": 1, "of": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no word vectors"),
        (b"the 0.5 1\nof 2\n", "line 2 has 1 values"),
        (b"the 0.5 nan\n", "line 1 has 2 values, or one that is no number"),
        (b"the 0.5 one\n", "line 1 has 2 values, or one that is no number"),
        (b"\xff\xfe 1 2\n", "is damaged"),
    ],
)
def test_bad_word_vectors_are_refused(tmp_path, content, message):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_word_vectors(str(path))


def test_a_missing_file_of_word_vectors_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_word_vectors(str(tmp_path / "missing.txt"))
