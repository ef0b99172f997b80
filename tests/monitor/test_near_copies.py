"""Copies with small edits collapse; different opinions about the same company do not."""

import json

import numpy as np
import pytest

from turnwise.app.monitor.simulation.simulated_texts import compose_post, edit_copy
from turnwise.monitor import text_similarity
from turnwise.monitor.near_copies import NearCopies
from turnwise.monitor.text_similarity import normalize

POST = (
    "Just read the filing of Norvane: inventories pile up and debt comes due soon, sold 40 shares https://a.example/1"
)


@pytest.mark.parametrize(
    "copy",
    [
        POST,
        POST.upper(),
        f"RT @someone: {POST}",
        POST.replace("https://a.example/1", "https://b.example/22?x=3"),
        POST.replace("inventories", "inventroies"),
        f"{POST} #stocks #norvane",
        POST.replace("Norvane:", "Norvane -").replace(",", "..."),
        POST.replace("Just read the filing", "Just read the whole filing"),
    ],
)
def test_an_edited_copy_is_found(copy):
    copies = NearCopies()
    assert copies.add(POST, 0) is None
    assert copies.add(copy, 60) == 0


@pytest.mark.parametrize(
    "different",
    [
        POST.replace("40", "400"),
        POST.replace("Norvane", "Altibra"),
        POST.replace("sold", "bought"),
        POST.replace("pile up", "fall at last"),
    ],
)
def test_another_number_or_word_is_another_opinion(different):
    copies = NearCopies()
    copies.add(POST, 0)
    assert copies.add(different, 60) is None


def test_short_texts_are_opinions_of_many():
    copies = NearCopies()
    assert [copies.add("Buy the dip!", time) for time in range(3)] == [None] * 3


def test_precision_and_recall_on_edited_posts():
    """500 posts about four companies, which share most of their words, and 500 edited copies."""
    rng = np.random.default_rng(0)
    copies, originals, hits, errors = NearCopies(), [], 0, 0
    for number in range(500):
        company = ("Norvane", "Altibra", "Halvex", "Dravik")[number % 4]
        post = compose_post(rng, company, ("positive", "neutral", "negative")[number % 3])
        errors += copies.add(post, number) is not None
        originals.append(post)
    for number, post in enumerate(originals):
        match = copies.add(edit_copy(rng, post), 500 + number)
        hits += match == number
        errors += match not in (None, number)
    assert hits / (hits + errors) >= 0.95
    assert hits / 500 >= 0.95


def test_old_texts_are_forgotten_and_memory_is_bounded():
    copies = NearCopies(max_age_hours=1, max_texts=2)
    copies.add(POST, 0)
    assert copies.add(POST, 3599) == 0
    assert copies.add(POST, 3601) is None
    copies.add(f"{POST} and one more thing to say about it", 3602)
    rng = np.random.default_rng(0)
    for number in range(10):
        copies.add(compose_post(rng, "Halvex", "negative"), 3700 + number)
    assert len(copies) == 2
    assert sum(map(len, copies._buckets.values())) == 2 * 16


def test_a_restart_finds_the_same_copies():
    rng = np.random.default_rng(1)
    posts = [compose_post(rng, "Norvane", "neutral") for _ in range(30)]
    before = NearCopies()
    for number, post in enumerate(posts):
        before.add(post, number)
    loaded = NearCopies()
    loaded.load_state(json.loads(json.dumps(before.state())))
    for post in [edit_copy(rng, post) for post in posts]:
        assert before.add(post, 100) == loaded.add(post, 100)


def test_copies_have_the_id_of_the_first_text():
    """A copy is never the text that others copy, and a later text that is also similar does not take over."""
    first = "inventories pile up at the southern plant of Norvane says the desk"
    between = f"{first} and it will take months"
    last = f"{between} until all of it is sold in spring"
    copies = NearCopies()
    assert copies.add(first, 0) is None
    assert copies.add(last, 1) is None
    assert [copies.add(text, 2) for text in (between, between.upper(), f"RT @a: {between}", last)] == [0, 0, 0, 1]


@pytest.mark.parametrize("tags", ["#norvane", "#a #b! #c", "#a#b", "... #norvane \N{ROCKET}"])
def test_tags_at_the_beginning_are_words_and_tags_at_the_end_are_not(tags):
    assert normalize(f"{POST} {tags}") == normalize(POST)
    assert normalize(f"{tags} {POST}") != normalize(POST)


def characters_compared(monkeypatch):
    """Products of the lengths of the words that are compared letter by letter: their time is proportional to it."""
    products = []

    class Counting(text_similarity.SequenceMatcher):
        def __init__(self, junk, left, right, **options):
            products.append(len(left) * len(right))
            super().__init__(junk, left, right, **options)

    monkeypatch.setattr(text_similarity, "SequenceMatcher", Counting)
    return products


def test_endless_words_are_not_compared_letter_by_letter(monkeypatch):
    products = characters_compared(monkeypatch)
    copies = NearCopies()
    letters = "abcdefghij" * 190
    assert copies.add(f"hello {letters}", 0) is None
    assert copies.add(f"hello {letters[:900]}z{letters[901:]}", 1) is None
    assert copies.add(f"hello {letters}", 2) == 0
    assert max(products, default=0) <= 40 * 40


@pytest.mark.parametrize(
    "text",
    ["\u3300 " * 20_000, "\ufdfa" * 20_000, "word " * 20_000, "a" * 100_000, " " * 100_000 + "word", " #tag" * 20_000],
)
def test_the_normal_form_is_bounded(text):
    assert 0 < len(normalize(text)) <= 2000


def test_only_the_beginning_of_a_long_text_is_compared():
    rng = np.random.default_rng(2)
    article = " ".join(compose_post(rng, "Norvane", "neutral") for _ in range(40))
    copies = NearCopies()
    copies.add(article, 0)
    assert copies.add(f"{article} quite another end", 1) == 0


def test_many_tags_take_linear_time(monkeypatch):
    """Every word is looked at once: a text of tags that does not end with tags is read from its end."""
    looks = []
    pattern = text_similarity._TAG

    class Counting:
        def fullmatch(self, word):
            looks.append(word)
            return pattern.fullmatch(word)

    monkeypatch.setattr(text_similarity, "_TAG", Counting())
    normalize("word" + " #a" * 2000 + " end")
    assert looks == ["end"]
    looks.clear()
    normalize("word" + " #a" * 2000)
    assert len(looks) == 2000
