"""Normalization for indexing: what is the same word for readers is the same text, and its place is the original's."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turnwise.retrieval.normalization import INVISIBLE, normalize

# Characters with which normal forms have surprises, beside all others.
DIFFICULT = (
    "ﬁﬂ\u0345\u0301\u0327\u03b1\u1fb3İıſßẞ①Ａｶﾞ㌀한\u1112\u1161\u11ab\u0bc6\u0bbe\u00ad\u200d\ufdfaǅ\u0f73\u0344Å\u212b½"
)
TEXTS = st.text(st.one_of(st.sampled_from(DIFFICULT), st.characters(codec="utf-8")), max_size=30)


@pytest.mark.parametrize(
    ("query", "text", "original"),
    [
        ("fi", "the ﬁrst", "ﬁ"),
        ("first", "the ﬁrst time", "ﬁrst"),
        ("strasse", "in der STRAẞE 5", "STRAẞE"),
        ("café", "a Cafe\u0301 here", "Cafe\u0301"),
        ("abc123", "code ＡＢＣ１２３。", "ＡＢＣ１２３"),
        ("cooperate", "they co\u00adoperate well", "co\u00adoperate"),
        ("ガス", "天然ｶﾞｽ会社", "ｶﾞｽ"),
        ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8 사람", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
        ("退货", "如何退货？", "退货"),
    ],
)
def test_a_query_is_located_in_the_original(query, text, original):
    normalized = normalize(text)
    position = normalized.text.index(normalize(query).text)
    start, end = normalized.original_span(position, position + len(normalize(query).text))
    assert text[start:end] == original


def test_ascii_is_lowered_in_its_positions():
    normalized = normalize("Hello World")
    assert normalized.text == "hello world"
    assert normalized.original_span(6, 11) == (6, 11)


def test_an_empty_span_is_a_position_and_other_positions_are_errors():
    normalized = normalize("ﬁx")
    assert normalized.original_span(2, 2) == (1, 1)
    assert normalized.original_span(3, 3) == (2, 2)
    assert normalize("").original_span(0, 0) == (0, 0)
    with pytest.raises(IndexError):
        normalized.original_span(1, 4)


@given(TEXTS)
@example("e\u200d\u0301")
def test_the_parts_are_normalized_as_the_whole_text_is(text):
    visible = "".join(character for character in text if character not in INVISIBLE)
    expected = visible
    for _ in range(4):
        expected = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", expected).casefold())
    assert normalize(text).text == expected


@given(TEXTS)
def test_normalizing_twice_changes_nothing(text):
    once = normalize(text).text
    assert normalize(once).text == once


@given(TEXTS)
def test_positions_are_in_order_and_every_visible_character_is_covered(text):
    normalized = normalize(text)
    spans = [normalized.original_span(index, index + 1) for index in range(len(normalized.text))]
    assert spans == sorted(spans)
    covered = {position for start, end in spans for position in range(start, end)}
    assert all(index in covered for index, character in enumerate(text) if character not in INVISIBLE)


@given(TEXTS, st.data())
def test_the_original_of_a_part_normalizes_to_what_was_selected(text, data):
    normalized = normalize(text)
    start = data.draw(st.integers(0, len(normalized.text)))
    end = data.draw(st.integers(start, len(normalized.text)))
    first, last = normalized.original_span(start, end)
    assert normalized.text[start:end] in normalize(text[first:last]).text
