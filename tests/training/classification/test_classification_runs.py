"""Classifiers are trained from annotated files, on encoders and on decoders, and are read back as they were."""

import json
import random

import pytest
import torch

from annotated_data import PEOPLE, VERBS
from turnwise.app.classifiers import open_classifier
from turnwise.app.text_classifier import sentence_of
from turnwise.core.classification import TaggedText
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.models.classifier import Classifier, add_classifier, load_head
from turnwise.models.classifier_config import is_classifier, read_classifier_config
from turnwise.models.encoder_model import EncoderModel
from turnwise.models.encoder_weights import EncoderCheckpoint
from turnwise.text.word_pieces import tokenize_words
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


def new_head(folder):
    """The head with which the training of a classifier began."""
    model = EncoderModel.load(folder)
    return add_classifier(model, read_classifier_config(folder), 0.0, seed=0).head


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
    assert not torch.equal(load_classifier(out).head.linear.weight, new_head(out).linear.weight)


def test_methods_that_do_not_train_the_head_are_refused(train, encoder_folder, labelled):
    with pytest.raises(InvalidParameter, match="cannot be trained with the method 'lora': use 'full' or 'freeze'"):
        train(encoder_folder, labelled, "sequence_classification", method="lora")


def test_the_saved_folder_has_the_trained_weights(train, encoder_folder, labelled):
    _, out = train(encoder_folder, labelled, "sequence_classification", max_steps=4)
    assert is_classifier(out)
    classifier = load_classifier(out)
    original = EncoderCheckpoint(encoder_folder)
    assert not torch.equal(classifier.backbone.encoder.embed.weight, original.tensor("embed.weight"))
    assert not torch.equal(classifier.head.linear.weight, new_head(out).linear.weight)


def test_labels_that_the_training_data_lack_are_refused_with_their_location(train, encoder_folder, labelled, tmp_path):
    for name, label in (("train", "good"), ("valid", "new")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": "Ada left", "label": label}) + "\n")
    with pytest.raises(InvalidData, match=r"valid.jsonl, line 1: 'new' does not occur in the training data"):
        train(encoder_folder, tmp_path, "sequence_classification")


def test_data_of_the_other_kind_are_refused(train, encoder_folder, labelled, tagged):
    with pytest.raises(InvalidData, match="Texts with labels: sequence_classification"):
        train(encoder_folder, labelled, "token_classification")
    with pytest.raises(InvalidData, match="Sentences with tags: token_classification"):
        train(encoder_folder, tagged, "sequence_classification")


def test_context_tells_what_a_sentence_does_not(train, encoder_folder, tmp_path):
    """The tag of the word "it" is that of the name in the sentence before it."""
    rng = random.Random(0)
    for name, count in (("train", 200), ("valid", 40)):
        lines = []
        for _ in range(count):
            word, tag = rng.choice([("Ada", "B-PER"), ("Rome", "B-LOC")])
            lines += ["-DOCSTART- O", "", f"{word} O", "", f"it {tag}", ""]
        (tmp_path / f"{name}.conll").write_text("\n".join(lines))
    objective = {"name": "token_classification", "context_words": 4}
    result, _ = train(encoder_folder, tmp_path, objective, max_steps=120)
    assert result.extra_metrics["f1"] > 0.95


def test_context_needs_documents(train, encoder_folder, tmp_path):
    row = {"tokens": ["Ada"], "tags": ["B-PER"]}
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InvalidData, match="'context_words' needs documents of several sentences"):
        train(encoder_folder, tmp_path, {"name": "token_classification", "context_words": 4})


@pytest.mark.parametrize("crf", [False, True])
def test_the_served_classifier_predicts_what_was_trained(train, encoder_folder, tagged, crf):
    _, out = train(encoder_folder, tagged, {"name": "token_classification", "crf": crf}, max_steps=20)
    served, classifier = open_classifier(str(out)), load_classifier(out)
    classifier.module.eval()
    words = ["Ada", "\u200b", "left", "New", "York"]
    ((tags, probabilities),) = served.tag_words([sentence_of(words)])
    assert len(tags) == len(probabilities) == len(words)
    pieces = tokenize_words(served.tokenizer, words)
    ids_BT = torch.tensor([pieces.ids])
    indices = [index for index in pieces.first_pieces if index is not None]
    is_labelled_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    is_labelled_BT[0, indices] = True
    with torch.no_grad():
        segments_BT = torch.ones_like(ids_BT)
        logits_NK = classifier.token_logits(ids_BT, is_labelled_BT, segments_BT, segments_BT)
        if crf:
            mask_BT = torch.ones(1, len(indices), dtype=torch.bool)
            expected = classifier.head.crf.decode(logits_NK[None], mask_BT)[0]
        else:
            expected = logits_NK.argmax(dim=1).tolist()
    by_word = dict(zip([n for n, index in enumerate(pieces.first_pieces) if index is not None], expected, strict=True))
    assert tags == [served.config.labels[by_word[n]] if n in by_word else "O" for n in range(len(words))]


def test_a_word_without_a_token_is_outside(train, encoder_folder, tagged):
    _, out = train(encoder_folder, tagged, "token_classification", max_steps=4)
    served = open_classifier(str(out))
    assert served.tag_words([sentence_of([])]) == [([], [])]
    assert served.tag(["", "  "]) == [TaggedText("", ()), TaggedText("  ", ())]
