"""Classifiers are trained from annotated files, on encoders and on decoders, and are read back as they were."""

import json

import pytest
import torch

from annotated_data import PEOPLE, VERBS
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.models.classifier import Classifier, load_head
from turnwise.models.classifier_config import is_classifier, read_classifier_config
from turnwise.models.encoder_model import EncoderModel
from turnwise.models.encoder_weights import EncoderCheckpoint
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import parse_recipe


@pytest.fixture
def train(tmp_path, one_thread, monkeypatch):
    """`train(base, data, objective, **settings)`: the result and the folder of a run."""
    monkeypatch.setattr("turnwise.training.loggers.plot_loss", lambda *_, **__: None)

    def run(base, data, objective, method="full", **settings):
        out = tmp_path / "out"
        values = {
            "objective": objective, "method": method, "model": {"from": str(base)}, "out": str(out),
            "data": {"train": str(data)},
            "training": {"max_steps": 60, "batch_size": 2, "max_seq_len": 64, "learning_rate": 3e-3,
                         "eval_steps": 20, **settings},
        }  # fmt: skip
        return run_recipe(parse_recipe(values, origin="test")), out

    return run


def load_classifier(folder):
    head, config = load_head(folder, 48)
    return Classifier(EncoderModel.load(folder), head, config)


@pytest.mark.parametrize("options", [{}, {"crf": True}, {"context_words": 8}])
def test_a_tagger_learns_names(train, encoder_folder, tagged, options):
    result, out = train(encoder_folder, tagged, {"name": "token_classification", **options})
    assert result.extra_metrics["f1"] > 0.95
    config = read_classifier_config(out)
    assert config.labels == ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
    assert config.has_crf == options.get("crf", False)
    assert config.context_words == options.get("context_words", 0)


def test_a_text_classifier_learns_labels(train, encoder_folder, labelled):
    result, out = train(encoder_folder, labelled, "sequence_classification")
    assert result.extra_metrics["f1"] > 0.95
    assert read_classifier_config(out).labels == ("bad", "good")
    assert json.loads((out / "result.json").read_text())["extra_metrics"]["f1"] > 0.95


def test_a_decoder_is_classified_by_its_last_token(train, base_folder, labelled):
    result, out = train(base_folder, labelled, "sequence_classification", learning_rate=1e-3)
    assert read_classifier_config(out).pooling == "last"
    assert result.extra_metrics["f1"] > 0.8


def test_a_text_may_have_several_labels(train, encoder_folder, tmp_path):
    rows = [{"text": f"{person} {verb}", "labels": [person, verb]} for person in PEOPLE for verb in VERBS]
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    result, out = train(encoder_folder, tmp_path, "sequence_classification")
    assert read_classifier_config(out).is_multi_label
    assert result.extra_metrics["f1"] > 0.9


def test_the_head_is_trained_with_the_last_layers(train, encoder_folder, labelled):
    _, out = train(encoder_folder, labelled, "sequence_classification", method={"name": "freeze", "last_layers": 1})
    trained, original = load_classifier(out).backbone.encoder, EncoderModel.load(encoder_folder).encoder
    before = original.state_dict()
    changed = {name for name, tensor in trained.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("layers.1.") for name in changed)


def test_methods_that_do_not_train_the_head_are_refused(train, encoder_folder, labelled):
    with pytest.raises(InvalidParameter, match="cannot be trained with the method 'lora': use 'full' or 'freeze'"):
        train(encoder_folder, labelled, "sequence_classification", method="lora")


def test_the_saved_folder_has_the_trained_weights(train, encoder_folder, labelled):
    _, out = train(encoder_folder, labelled, "sequence_classification", max_steps=4)
    assert is_classifier(out)
    classifier = load_classifier(out)
    original = EncoderCheckpoint(encoder_folder)
    assert not torch.equal(classifier.backbone.encoder.embed.weight, original.tensor("embed.weight"))
    assert classifier.head.linear.weight.abs().sum() > 0


def test_labels_that_the_training_data_lack_are_refused_with_their_location(train, encoder_folder, labelled, tmp_path):
    for name, label in (("train", "good"), ("valid", "new")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": "Ada left", "label": label}) + "\n")
    with pytest.raises(InvalidData, match=r"valid.jsonl, line 1: the label 'new' does not occur in the training data"):
        train(encoder_folder, tmp_path, "sequence_classification")


def test_data_of_the_other_kind_are_refused(train, encoder_folder, labelled, tagged):
    with pytest.raises(InvalidData, match="Texts with labels: sequence_classification"):
        train(encoder_folder, labelled, "token_classification")
    with pytest.raises(InvalidData, match="Sentences with tags: token_classification"):
        train(encoder_folder, tagged, "sequence_classification")
