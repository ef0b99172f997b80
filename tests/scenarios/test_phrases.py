"""Phrases: words, endings, gaps, alternatives, misspellings and exceptions, in English and Chinese."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
from turnwise.scenarios.phrases import GAP, PhraseList, is_similar, parse_phrase, tokenize


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("chest pain*", "I have CHEST PAINS!"),
        ("cant breathe", "I can't breathe"),
        ("cant breathe", "i can’t  breathe..."),
        ("chest|heart ... hurt*", "my heart really really hurts"),
        ("unconscious", "he is uncoscious"),  # a letter missing
        ("unconscious", "he is unconcsious"),  # neighbours swapped
        ("chest", "my chset"),
        ("suicid*", "suiciddal thoughts"),
        ("breath*", "i cant brethe"),
        ("胸口|心脏 ... 疼|痛", "我胸口一直很痛"),
        ("喘不上气", "他 喘不上气 了"),
        ("ＡＢＣ", "abc"),
    ],
)
def test_a_message_with_the_phrase_is_recognised(phrase, message):
    assert PhraseList([phrase]).find(message) is not None


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("chest pain*", "a pain in the chest"),  # another order
        ("chest ... pain*", "the chest of my grandmother who never had any pain"),  # too far apart
        ("heart!", "I heard you"),
        ("drown!*", "calm down"),
        ("scald*", "a scale"),
        ("poison*", "a prisoner"),
        ("chest", "a cheap test"),
        ("die", "dye my hair"),  # short words are not corrected
        ("12345", "12346"),  # numbers neither
        ("胸口 ... 痛", "胸口别着一枚小小的徽章很漂亮痛"),
        ("art", "start the party"),  # only complete words
    ],
)
def test_another_message_is_not(phrase, message):
    assert PhraseList([phrase]).find(message) is None


def test_a_match_that_overlaps_an_exception_does_not_count():
    phrases = PhraseList(["chest"], ["chest of drawers"])
    assert phrases.find("I ordered a chest of drawers") is None
    assert phrases.find("The chest of drawers fell on my chest") is not None


@pytest.mark.parametrize("phrase", ["", "...", "... a", "a ...", "a|", "|", "a ... |", "!!!", "*"])
def test_a_phrase_without_words_is_rejected(phrase):
    with pytest.raises(InvalidParameter, match="the phrase"):
        parse_phrase(phrase)


WORDS = st.text("abcdef", min_size=1, max_size=6)


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3))
def test_a_phrase_matches_every_text_that_contains_its_words(words, before, after):
    assert PhraseList([" ".join(words)]).find(" ".join([*before, *words, *after])) is not None


@given(WORDS, st.lists(WORDS, max_size=6), WORDS)
def test_a_gap_stands_for_at_most_four_words(first, between, last):
    text = " ".join([first, *between, last])
    if len(between) <= 4:
        assert PhraseList([f"{first}! {GAP} {last}!"]).find(text) is not None
    elif first not in [*between, last] and last not in between:
        assert PhraseList([f"{first}! {GAP} {last}!"]).find(text) is None


def _distance(first, second):
    """Restricted Damerau-Levenshtein distance, by its definition."""
    if not first or not second:
        return len(first) + len(second)
    costs = [
        _distance(first[1:], second) + 1,
        _distance(first, second[1:]) + 1,
        _distance(first[1:], second[1:]) + (first[0] != second[0]),
    ]
    if len(first) > 1 and len(second) > 1 and first[0] == second[1] and first[1] == second[0]:
        costs.append(_distance(first[2:], second[2:]) + 1)
    return min(costs)


@given(st.text("abc", max_size=5), st.text("abc", max_size=5), st.integers(0, 2))
def test_similarity_is_the_damerau_levenshtein_distance(first, second, max_errors):
    assert is_similar(first, second, max_errors) == (_distance(first, second) <= max_errors)


@given(st.text(max_size=200))
def test_any_text_can_be_searched(text):
    PhraseList(["a ... b", "胸|心 痛"]).find(text)
    assert all(token == token.casefold() for token in tokenize(text) if token.isascii())


def test_only_the_beginning_of_a_long_message_is_read():
    assert PhraseList(["needle"]).find("x " * 10_000 + "needle") is None
    rng = random.Random(0)
    long_text = " ".join("".join(rng.choices("abcdefgh", k=5)) for _ in range(600))
    assert PhraseList(["needle"]).find(f"{long_text} needle") is not None
