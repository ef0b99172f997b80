"""Classifiers: pooling of texts, and files that are refused by name."""

import json

import pytest
import torch

from turnwise.core.errors import UserError
from turnwise.models.classifier import ClassificationHead, load_head, pool_texts
from turnwise.models.classifier_config import ClassifierConfig, read_classifier_config
from turnwise.models.safetensors_writer import save_safetensors

CONFIG = ClassifierConfig("token_classification", ("O", "B-X", "I-X"), has_crf=True)


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [2.0, 7.0]), ("first", [1.0, 7.0]), ("last", [3.0, 7.0])])
def test_texts_are_pooled_by_their_tokens(pooling, expected):
    hidden = torch.tensor([[1.0], [2.0], [3.0], [7.0]])
    assert pool_texts(hidden, torch.tensor([0, 0, 0, 1]), pooling)[:, 0].tolist() == expected


@pytest.fixture
def folder(tmp_path):
    """The files of a head."""
    CONFIG.save(tmp_path)
    state = {name: tensor.contiguous() for name, tensor in ClassificationHead(CONFIG, 8).state_dict().items()}
    save_safetensors(state, tmp_path / "classifier.safetensors")
    return tmp_path


def test_a_head_is_read_as_it_was_saved(folder):
    head, config = load_head(folder, 8)
    assert config == CONFIG
    assert head.crf is not None
    assert head.crf.penalty_KK[0, 2] < -1000  # I-X does not follow O
    assert head.crf.penalty_KK[1, 2] == 0


def test_a_head_for_another_hidden_size_is_refused(folder):
    with pytest.raises(UserError, match=r"'linear.weight' has the shape \(3, 8\) instead of \(3, 16\)"):
        load_head(folder, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": []}, "labels"),
        ({"labels": ["a", "a"]}, "two labels have the same name"),
        ({"num_word_vectors": 3, "word_vector_size": 2}, "word vectors need word features"),
        ({"task": "translation"}, "task"),
        ({"temperature": 0}, "temperature"),
        ({"pooling": "max"}, "pooling"),
        ({"none_label": "none"}, "only a classifier that predicts one label of a text has a 'none_label'"),
        ({"none_label": 3}, "none_label"),
    ],
)
def test_damaged_settings_are_refused_by_name(folder, changes, message):
    path = folder / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=f"classifier.json.*{message}"):
        read_classifier_config(folder)


def test_settings_that_do_not_fit_the_weights_allocate_nothing(folder):
    path = folder / "classifier.json"
    changes = {"has_word_features": True, "num_word_vectors": 9_000_000, "word_vector_size": 999}  # 36 GB
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=r"does not belong to its classifier\.json"):
        load_head(folder, 8)


def test_a_folder_without_a_classifier_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no classifier"):
        read_classifier_config(tmp_path)
