"""Terms of texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.retrieval.terms import MAX_TERM_CHARS, fold, remove_plural, split_terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Hello, WORLD!", ["hello", "world"]),
        ("John's lamps", ["john", "s", "lamp"]),
        ("ﬁle ｆｕｌｌ Straße", ["file", "full", "strasse"]),
        ("3.5 EUR, item_7", ["3", "5", "eur", "item", "7"]),
        ("Привет, Мир", ["привет", "мир"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("", []),
        ("?! …\u200b\n", []),
    ],
)
def test_words(text, terms):
    assert split_terms(text) == terms


def test_chinese_gives_words_and_bigrams_and_a_bigram_that_is_a_word_once():
    assert split_terms("北京大学 abc") == ["北京大学", "北京", "京大", "大学", "abc"]
    assert split_terms("你好") == ["你好"]
    assert split_terms("猫") == ["猫"]


@pytest.mark.parametrize("text", ["한국어", "ภาษาไทย", "タワー"])
def test_other_scripts_without_spaces_give_bigrams(text):
    assert [text[i : i + 2] for i in range(len(text) - 1)] == [term for term in split_terms(text) if len(term) == 2]


@pytest.mark.parametrize(
    ("word", "stem"),
    [("companies", "company"), ("houses", "house"), ("lamps", "lamp"), ("bus", "bus"), ("class", "class"),
     ("virus", "virus"), ("gas", "gas"), ("trees", "tree")],
)  # fmt: skip
def test_plurals(word, stem):
    assert remove_plural(word) == stem


@given(st.text())
def test_terms_are_folded_words_of_limited_length(text):
    terms = split_terms(text)
    assert all(term and len(term) <= MAX_TERM_CHARS and not any(c.isspace() for c in term) for term in terms)
    assert split_terms(text.upper().lower()) == split_terms(text.upper())
    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet="abc 猫犬你好1é"), st.text(alphabet="abc 猫犬你好1é"))
def test_white_space_separates_texts(first, second):
    assert split_terms(f"{first} {second}") == split_terms(first) + split_terms(second)


def test_encoded_data_gives_short_terms():
    assert split_terms("A" * 100_000) == ["a" * MAX_TERM_CHARS]
