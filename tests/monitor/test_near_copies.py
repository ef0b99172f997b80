"""Copies with small edits collapse; different opinions about the same company do not."""

import json

import numpy as np
import pytest

from turnwise.core.errors import UserError
from turnwise.monitor.near_copies import SIGNATURE_BYTES, NearCopies
from turnwise.monitor.simulated_texts import compose_post, edit_copy

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
    assert copies.add(POST, 0, text_id=7) is None
    assert copies.add(copy, 60) == 7


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
        errors += copies.add(post, number, text_id=number) is not None
        originals.append(post)
    for number, post in enumerate(originals):
        match = copies.add(edit_copy(rng, post), 500 + number, text_id=1000 + number)
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


@pytest.mark.parametrize("with_signatures", [True, False])
def test_a_restart_finds_the_same_copies(with_signatures):
    rng = np.random.default_rng(1)
    posts = [compose_post(rng, "Norvane", "neutral") for _ in range(30)]
    before = NearCopies()
    for number, post in enumerate(posts):
        before.add(post, number, text_id=10 + number)
    stored = [
        (10 + number, post, number, before.signature(post) if with_signatures else None)
        for number, post in enumerate(posts)
    ]
    restored, loaded = NearCopies(), NearCopies()
    restored.restore(stored)
    loaded.load_state(json.loads(json.dumps(before.state())))
    for post in [edit_copy(rng, post) for post in posts]:
        assert before.add(post, 100) == restored.add(post, 100) == loaded.add(post, 100)


def test_invalid_signatures_and_ids_are_rejected():
    copies = NearCopies()
    assert len(copies.signature(POST)) == SIGNATURE_BYTES
    copies.add(POST, 0, text_id=3)
    with pytest.raises(UserError, match="id 3"):
        copies.add("quite another text, about the weather of tomorrow", 1, text_id=3)
    with pytest.raises(UserError, match="5 bytes"):
        copies.restore([(4, POST, 1, b"short")])
