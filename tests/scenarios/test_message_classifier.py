"""The classifier of emergencies: features, windows of long messages, calibration, kinds, and its files."""

import json
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from turnwise.core.errors import UserError
from turnwise.scenarios.message_classifier import (
    MAX_WINDOW_CHARS,
    MAX_WINDOWS,
    load_classifier,
    message_windows,
    read_classifier,
)
from turnwise.scenarios.message_features import NUM_BUCKETS, message_buckets

PROBES = ["one", "two"]


@pytest.fixture
def classifier_folder(tmp_path):
    """Writes a classifier that knows the words `fire` and `flood`, which are its kinds; vectors have two dimensions."""

    def write(**changes):
        weights = np.zeros((NUM_BUCKETS, 3), dtype=np.int8)
        for kind, word in enumerate(("fire", "flood"), 1):
            weights[message_buckets(word), 0] = 20
            weights[message_buckets(word), kind] = 390 // len(message_buckets(word))  # the same sum for each word
        tensors = {
            "lexical.weight": weights, "lexical.scale": np.ones(3, np.float32),
            "lexical.bias": np.array([-10, 0, 0], np.float32), "embedding.mean": np.zeros(2, np.float32),
            "embedding.weight": np.array([[10, 0, 0], [-90, 0, 0]], np.float16),
            "embedding.bias": np.zeros(3, np.float32), "probes": np.eye(2, dtype=np.float16),
        }  # fmt: skip
        scripts = {"latin": {"slope": 1.0, "intercept": 0.0, "threshold": 0.5}}
        scripts["chinese"] = {**scripts["latin"], "threshold": 0.25}
        settings = {
            "kinds": ["fire", "flood"], "lexical": scripts, "combined": scripts, "kind_threshold": 0.9,
            "probes": PROBES, **changes,
        }  # fmt: skip
        (tmp_path / "classifier.safetensors").write_bytes(save(tensors))
        (tmp_path / "classifier.json").write_text(json.dumps(settings))
        return tmp_path

    return write


@given(st.text(alphabet=string.printable + "疼痛，。", max_size=60))
def test_case_and_repeated_letters_do_not_change_the_features(text):
    buckets = message_buckets(text)
    assert np.array_equal(buckets, np.unique(buckets))
    assert np.all((buckets >= 0) & (buckets < NUM_BUCKETS))
    assert np.array_equal(message_buckets("Heeelp " + text.upper()), message_buckets("heeeeeelp " + text))


def test_a_misspelt_word_shares_most_features_and_another_word_few():
    word, misspelt, other = (set(message_buckets(text)) for text in ("bleeding", "bleading", "shopping"))
    assert len(word & misspelt) > 2 * len(word & other)


@given(st.text(alphabet="ab。. \n", max_size=1200))
def test_the_windows_of_a_text_are_short_and_leave_nothing_out_unless_there_are_too_many(text):
    windows = message_windows(text)
    assert all(len(window) <= 2 * MAX_WINDOW_CHARS for window in windows)
    assert len(windows) <= MAX_WINDOWS
    if len(windows) < MAX_WINDOWS:
        assert "".join(windows).strip() == text.strip()


def test_the_end_of_a_very_long_message_is_in_a_window():
    assert message_windows("All is well here. " * 500 + "There is a fire.")[-1].endswith("There is a fire.")


def test_the_most_alarming_window_decides_and_names_the_kind(classifier_folder):
    classifier = read_classifier(classifier_folder())
    prediction = classifier.predict(["a quiet day", "fire"])
    assert prediction.is_emergency
    assert prediction.probability > 0.99
    assert prediction.kind == "fire"
    assert not classifier.predict(["a quiet day"]).is_emergency
    assert not classifier.predict([]).is_emergency


def test_a_kind_that_is_uncertain_is_not_named(classifier_folder):
    prediction = read_classifier(classifier_folder()).predict(["fire flood"])
    assert (prediction.is_emergency, prediction.kind) == (True, None)


def test_each_script_has_its_own_threshold(classifier_folder):
    classifier = read_classifier(classifier_folder())
    assert classifier.predict(["quiet"]).threshold == 0.5
    assert classifier.predict(["安静"]).threshold == 0.25


def test_vectors_take_part_and_can_decide_against_the_words(classifier_folder):
    classifier = read_classifier(classifier_folder())
    assert classifier.predict(["fire"], np.array([[1.0, 0.0]])).is_emergency
    assert not classifier.predict(["fire"], np.array([[0.0, 1.0]])).is_emergency


def test_only_vectors_of_the_model_of_the_training_are_accepted(classifier_folder):
    classifier = read_classifier(classifier_folder())
    assert classifier.probes == tuple(PROBES)
    assert classifier.accepts_vectors(np.array([[1.0, 0.1], [0.1, 1.0]]) / np.sqrt(1.01))
    assert not classifier.accepts_vectors(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert not classifier.accepts_vectors(np.ones((2, 3)) / np.sqrt(3))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"kinds": []}, "kinds"), ({"kind_threshold": 2}, "kind_threshold"), ({"lexical": {}}, "lexical")],
)
def test_an_invalid_file_is_rejected_by_the_name_of_the_field(classifier_folder, changes, problem):
    with pytest.raises(UserError, match=f"classifier.json.*{problem}"):
        read_classifier(classifier_folder(**changes))


def test_a_missing_file_is_rejected(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_classifier(tmp_path)


def test_the_bundled_classifier_tells_emergencies_from_harmless_messages():
    classifier = load_classifier("emergencies")
    emergencies = ["my dad fell off the roof and cannot feel his legs", "爷爷突然嘴歪了半边身子没感觉"]
    harmless = ["where can i buy a new bike", "明天会下雨吗", "my order has not arrived", ""]
    assert [classifier.predict(message_windows(text)).is_emergency for text in emergencies] == [True, True]
    assert [classifier.predict(message_windows(text)).is_emergency for text in harmless] == [False] * 4
