"""Few-shot selection: nearest, diverse and by validation loss."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.core.messages import Message
from turnwise.text.rendering.demonstration_pool import DemonstrationPool
from turnwise.text.rendering.demonstration_selection import SELECTIONS, best_on_validation, diverse, nearest
from turnwise.text.rendering.demonstrations import Demonstrations
from turnwise.text.tokenization.demonstrations_file import read_demonstrations, write_demonstrations

QUESTIONS = ["Where is my parcel?", "where is MY parcel", "My parcel is damaged", "Cancel my order", "Hello"]


def demonstrations(selection, shots=2, embed=None):
    dialogues = tuple((Message("user", text), Message("assistant", text.upper())) for text in QUESTIONS)
    return Demonstrations(dialogues, shots, selection, embed)


def shown(selection, question, shots=2, embed=None):
    _, messages = demonstrations(selection, shots, embed).select([Message("user", question)])
    return [message.content for message in messages if message.role == "user"]


def test_nearest_shows_the_most_similar_ones_and_the_best_one_last():
    assert shown("nearest", "Is my parcel damaged?") == ["Where is my parcel?", "My parcel is damaged"]


def test_diverse_shows_no_near_copy_of_the_best_one():
    best, second = reversed(shown("diverse", "Where is my parcel?"))
    assert best == "Where is my parcel?"
    assert second != "where is MY parcel"


def first_letter(texts):
    """Embeddings by the first letter."""
    return np.array([[float(text[0] == letter) for letter in "WMCH"] for text in texts])


@pytest.mark.parametrize("selection", ["nearest", "diverse"])
def test_an_embedder_replaces_the_words(selection):
    assert shown(selection, "Howdy", 1, first_letter) == ["Hello"]


def test_nearest_with_an_embedder_fills_up_in_the_order_of_the_data():
    assert shown("nearest", "Howdy", 2, first_letter) == ["Where is my parcel?", "Hello"]


texts = st.lists(st.text("abc ", max_size=8), max_size=8)


@pytest.mark.parametrize("selection", [nearest, diverse])
@given(texts=texts, query=st.text("abc ", max_size=8), shots=st.integers(0, 10))
def test_a_selection_has_as_many_different_demonstrations_as_there_are(selection, texts, query, shots):
    indices = selection.select(DemonstrationPool(texts), query, shots)
    assert len(indices) == len(set(indices)) == min(shots, len(texts))
    assert set(indices) <= set(range(len(texts)))
    assert indices == selection.select(DemonstrationPool(texts), query, shots)


GAINS = {0: 0.5, 1: 0.1, 2: 0.3, 3: -0.2}  # how much each candidate lowers the loss


def loss(indices):
    return 2.0 - sum(GAINS[index] for index in indices)


def test_greedy_selection_adds_what_lowers_the_loss_the_strongest_one_last():
    assert best_on_validation.fit(4, 3, loss, Random(0), trials=10) == [1, 2, 0]


def test_greedy_selection_ends_before_a_demonstration_that_raises_the_loss():
    assert best_on_validation.fit(4, 4, loss, Random(0), trials=10) == [1, 2, 0]


def test_greedy_selection_measures_at_most_the_trials_of_each_step():
    measured = []
    best_on_validation.fit(4, 2, lambda indices: measured.append(indices) or loss(indices), Random(0), trials=2)
    assert [len(indices) for indices in measured].count(1) == 2
    assert len(measured) <= 4


def test_the_selection_is_saved_with_the_demonstrations(tmp_path):
    write_demonstrations(tmp_path, demonstrations("diverse"))
    assert read_demonstrations(tmp_path) == demonstrations("diverse")


def test_a_folder_without_a_selection_uses_the_nearest_ones(tmp_path):
    write_demonstrations(tmp_path, demonstrations("nearest"))
    assert "selection" not in (tmp_path / "demonstrations.json").read_text()
    assert read_demonstrations(tmp_path).selection == "nearest"


def test_a_selection_for_all_dialogues_cannot_select_for_one(tmp_path):
    write_demonstrations(tmp_path, demonstrations("best_on_validation"))
    with pytest.raises(UserError, match="selects no demonstrations"):
        read_demonstrations(tmp_path)


def test_an_unknown_selection_is_an_error_that_lists_the_selections():
    with pytest.raises(InvalidParameter, match="nearest"):
        SELECTIONS.load("neerest")
