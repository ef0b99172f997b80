"""Texts are split into words that keep their offsets."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.text.words import split_sentences, split_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada's well-known U.S. friend", ["Ada's", "well-known", "U.S.", "friend"]),
        ("It cost $10,000.50.", ["It", "cost", "$", "10,000.50", "."]),
        ("\u4e2d\u6587, ok", ["\u4e2d", "\u6587", ",", "ok"]),
        ("cafe\u0301 \u0939\u093f\u0928\u094d\u0926\u0940", ["cafe\u0301", "\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("a_b 3.", ["a", "_", "b", "3", "."]),
        ("\u0645\u06cc\u200c\u062e\u0648", ["\u0645\u06cc\u200c\u062e\u0648"]),
        ("\u200f\u05d0\u05d1\u200f \u05d2\u202c.", ["\u05d0\u05d1", "\u05d2", "."]),
        ("\ufeffco\u00adop\u200b!", ["co\u00adop", "!"]),
        ("\u2764\ufe0f ok", ["\u2764\ufe0f", "ok"]),
        ("\u3400\u3401\U00020000", ["\u3400", "\u3401", "\U00020000"]),
        ("Mr. Li met J. R. Ewing.", ["Mr.", "Li", "met", "J.", "R.", "Ewing", "."]),
        ("Plan B. then Dr.", ["Plan", "B", ".", "then", "Dr", "."]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert [word.text for word in split_words(text)] == expected


@settings(deadline=None)
@given(st.text(max_size=30))
def test_words_are_at_their_offsets_and_all_of_the_text_but_space_is_in_one(text):
    words = split_words(text)
    assert all(text[word.start : word.end] == word.text for word in words)
    assert all(first.end <= second.start for first, second in pairwise(words))
    covered = {index for word in words for index in range(word.start, word.end)}
    assert not any(text[index].isalnum() for index in set(range(len(text))) - covered)
    assert not any(unicodedata.category(word.text[0]) == "Cc" for word in words)


def test_sentences_end_at_marks_and_line_ends():
    sentences = split_sentences("Who is it? Dr. J. Who.\nNo mark\n\nPart C.\nEnd")
    assert [" ".join(word.text for word in sentence) for sentence in sentences] == [
        "Who is it ?", "Dr. J. Who .", "No mark", "Part C .", "End",
    ]  # fmt: skip
