"""Classifiers are trained from annotated files, on encoders and on decoders, and are read back as they were."""

import json
import random
import shutil

import numpy as np
import pytest
import torch

from annotated_data import PEOPLE, VERBS
from turnwise.app.classifiers import open_classifier
from turnwise.app.text_classifier import sentence_of
from turnwise.core.classification import TaggedText
from turnwise.core.errors import InvalidData, InvalidParameter, UserError
from turnwise.core.word_features import START_COLUMN, encode_words
from turnwise.data.annotations.annotated import join_sentences, with_context
from turnwise.data.annotations.source import AnnotationSource
from turnwise.models.classifier import Classifier, add_classifier, load_head
from turnwise.models.classifier_config import is_classifier, read_classifier_config
from turnwise.models.encoder_model import EncoderModel
from turnwise.models.encoder_weights import EncoderCheckpoint, weight_shapes
from turnwise.models.model_kind import check_servable
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.word_pieces import tokenize_words
from turnwise.training.examples.batches import collate
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives.sequence_classification import SequenceClassificationObjective
from turnwise.training.objectives.token_classification import TokenClassificationObjective
from turnwise.training.text_regularizers import contrastive_loss


def load_classifier(folder):
    head, config = load_head(folder, 48)
    return Classifier(EncoderModel.load(folder), head, config)


def new_head(folder):
    """The head with which the training of a classifier began."""
    model = EncoderModel.load(folder)
    return add_classifier(model, read_classifier_config(folder), 0.0, seed=0).head


@pytest.fixture
def word_vectors(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("ada 0.5 -1.0 0.25\nleft 0.0 1.0 1.0\n")
    return str(path)


@pytest.mark.costly
@pytest.mark.parametrize("options", [
    {}, {"crf": True}, {"context_words": 8}, {"word_features": True, "lstm_size": 8},
    {"crf": True, "sparse_features": True, "window_words": 40},
])  # fmt: skip
def test_a_tagger_learns_names(train, encoder_folder, tagged, options):
    result, out = train(encoder_folder, tagged, {"name": "token_classification", **options})
    assert result.extra_metrics["f1"] > 0.95
    config = read_classifier_config(out)
    assert config.labels == ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
    assert config.has_crf == options.get("crf", False)
    assert config.context_words == options.get("context_words", 0)


@pytest.mark.costly
def test_the_spelling_tells_what_tokens_do_not(train, encoder_folder, tmp_path):
    """All words are unknown to the tokenizer; names begin with a capital letter and end in "a"."""
    rng = random.Random(0)
    for name, count in (("train", 120), ("valid", 30)):
        lines = []
        for _ in range(count):
            stem = "".join(rng.choices("βγδζθ", k=3))
            word, tag = rng.choice([(f"{stem.capitalize()}a", "B-PER"), (f"{stem}a", "O"), (f"{stem.upper()}s", "O")])
            lines += [f"{word} {tag}", ""]
        (tmp_path / f"{name}.conll").write_text("\n".join(lines))
    result, _ = train(encoder_folder, tmp_path, {"name": "token_classification", "word_features": True})
    assert result.extra_metrics["f1"] > 0.95


@pytest.mark.costly
def test_sparse_features_learn_words_that_the_tokenizer_does_not_know(train, encoder_folder, tmp_path):
    """No word is known to the tokenizer. Names are spelled at random; the word before a name tells its label."""
    rng = random.Random(0)
    for name, count in (("train", 120), ("valid", 30)):
        lines = []
        for _ in range(count):
            title, tag = rng.choice([("ζβγ", "B-PER"), ("δθζ", "B-ORG"), ("γγδ", "O")])
            lines += [f"{title} O", f"{''.join(rng.choices('αεηικλμν', k=4))} {tag}", ""]
        (tmp_path / f"{name}.conll").write_text("\n".join(lines))
    result, _ = train(encoder_folder, tmp_path, {"name": "token_classification", "sparse_features": True})
    assert result.extra_metrics["f1"] > 0.95


@pytest.mark.costly
def test_word_vectors_are_stored_with_the_classifier(train, encoder_folder, tagged, word_vectors):
    objective = {"name": "token_classification", "word_vectors": word_vectors}
    _, out = train(encoder_folder, tagged, objective, max_steps=4)
    served = open_classifier(str(out))
    assert served.vector_rows == {"ada": 1, "left": 2}
    head, _ = load_head(out, 48)
    assert head.word_features.vectors_VD.tolist() == [[0, 0, 0], [0.5, -1, 0.25], [0, 1, 1]]  # not trained
    (out / "word_vectors.txt").write_text("ada\n")
    with pytest.raises(UserError, match="has 1 words, and the classifier 2"):
        open_classifier(str(out))


@pytest.mark.costly
def test_a_text_classifier_learns_labels(train, encoder_folder, labelled):
    result, out = train(encoder_folder, labelled, "sequence_classification")
    assert result.extra_metrics["f1"] > 0.95
    assert read_classifier_config(out).labels == ("bad", "good")
    assert json.loads((out / "result.json").read_text())["extra_metrics"]["f1"] > 0.95


@pytest.mark.costly
def test_a_text_classifier_learns_with_further_losses(train, encoder_folder, labelled):
    objective = {"name": "sequence_classification", "contrastive": 0.5, "consistency": 0.5}
    result, _ = train(encoder_folder, labelled, objective)
    assert result.extra_metrics["f1"] > 0.95


@pytest.mark.costly
def test_a_decoder_is_classified_by_its_last_token(train, base_folder, labelled):
    result, out = train(base_folder, labelled, "sequence_classification", learning_rate=1e-3)
    assert read_classifier_config(out).pooling == "last"
    assert result.extra_metrics["f1"] > 0.8


@pytest.mark.costly
def test_a_text_may_have_several_labels(train, encoder_folder, tmp_path):
    rows = [{"text": f"{person} {verb}", "labels": [person, verb]} for person in PEOPLE for verb in VERBS]
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    result, out = train(encoder_folder, tmp_path, "sequence_classification")
    assert read_classifier_config(out).is_multi_label
    assert result.extra_metrics["f1"] > 0.9


@pytest.mark.costly
def test_the_head_is_trained_with_the_last_layers(train, encoder_folder, labelled):
    _, out = train(encoder_folder, labelled, "sequence_classification", method={"name": "freeze", "last_layers": 1})
    trained, original = load_classifier(out).backbone.encoder, EncoderModel.load(encoder_folder).encoder
    before = original.state_dict()
    changed = {name for name, tensor in trained.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("layers.1.") for name in changed)
    assert not torch.equal(load_classifier(out).head.linear.weight, new_head(out).linear.weight)


def test_methods_that_do_not_train_the_head_are_refused(train, encoder_folder, labelled):
    with pytest.raises(InvalidParameter, match="cannot be trained with the method 'prompt_tuning': use 'full'"):
        train(encoder_folder, labelled, "sequence_classification", method="prompt_tuning")


@pytest.mark.costly
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_classifier_is_trained_as_an_adapter(train, encoder_folder, base_folder, labelled, kind):
    base = encoder_folder if kind == "encoder" else base_folder
    method = {"name": "lora", "rank": 4, "alpha": 16}
    result, out = train(base, labelled, "sequence_classification", method=method, learning_rate=1e-2)
    assert result.extra_metrics["f1"] > 0.8
    assert not (out / "model.safetensors").exists()
    valid = AnnotationSource(labelled / "valid.jsonl").read()
    predicted = open_classifier(str(out)).classify([text.text for text in valid])
    is_right = [labels.labels == text.labels for labels, text in zip(predicted, valid, strict=True)]
    assert sum(is_right) / len(is_right) == pytest.approx(result.extra_metrics["f1"], abs=0.05)


@pytest.mark.costly
def test_a_classifier_with_an_adapter_is_trained_further(train, encoder_folder, labelled, tmp_path):
    _, out = train(encoder_folder, labelled, "sequence_classification", method="lora", max_steps=4)
    first = shutil.move(out, tmp_path / "first")
    result, out = train(first, labelled, "sequence_classification")
    assert result.extra_metrics["f1"] > 0.95
    assert not (out / "adapter_config.json").exists()
    shutil.rmtree(out)
    with pytest.raises(InvalidParameter, match="train it further with the method 'full'"):
        train(first, labelled, "sequence_classification", method="lora")


@pytest.mark.costly
def test_a_classifier_does_not_chat(train, base_folder, labelled):
    _, out = train(base_folder, labelled, "sequence_classification", method="lora", max_steps=2)
    with pytest.raises(UserError, match="holds a classifier, which does not chat"):
        check_servable(out)


def test_the_further_losses_are_added_with_their_weights(encoder_folder, labelled):
    """Without dropout both passes are equal, so the consistency loss is 0 and the cross-entropy that of one pass."""
    texts = AnnotationSource(labelled / "valid.jsonl").read()[:6]
    losses = {}
    for weights in ({}, {"contrastive": 0.5}, {"contrastive": 0.5, "consistency": 2.0}):
        objective = SequenceClassificationObjective(dropout=0.0, **weights).fit_labels(texts)
        base = ModelBundle(EncoderModel.load(encoder_folder, dropout=0.0), Tokenizer.load(encoder_folder), None)
        model = objective.add_head(base, seed=0).model
        model.module.train()
        context = ExampleContext(Renderer.from_tokenizer(base.tokenizer), 32)
        examples = [example for text in texts for example in objective.examples(text, context)]
        batch = collate([[example] for example in examples], pad_id=0)
        losses[len(weights)] = objective.loss(model, batch).loss_sum.item()
        if not weights:
            vectors_PC = model.text_vectors(batch.ids_BT, batch.segment_ids_BT, batch.positions_BT)
            contrastive = contrastive_loss(vectors_PC, batch.segment_labels["labels"]).sum().item()
    assert contrastive > 0
    assert losses[1] == pytest.approx(losses[0] + 0.5 * contrastive, rel=1e-4)
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.costly
def test_the_adapter_of_an_encoder_changes_what_it_was_trained_for(train, encoder_folder, labelled):
    method = {"name": "lora", "rank": 4, "target_modules": ["*.qkv", "*.down"]}
    _, out = train(encoder_folder, labelled, "sequence_classification", method=method, max_steps=8)
    before, after = EncoderCheckpoint(encoder_folder), EncoderCheckpoint(out)
    changed = {
        name for name in weight_shapes(before.config) if not torch.equal(before.tensor(name), after.tensor(name))
    }
    assert changed == {f"layers.{number}.{module}.weight" for number in range(2) for module in ("qkv", "down")}


@pytest.mark.costly
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


@pytest.fixture
def references(tmp_path):
    """Documents of two sentences: the tag of the word "it" is that of the name in the sentence before it."""
    rng = random.Random(0)
    for name, count in (("train", 200), ("valid", 40)):
        lines = []
        for _ in range(count):
            word, tag = rng.choice([("Ada", "B-PER"), ("Rome", "B-LOC")])
            lines += ["-DOCSTART- O", "", f"{word} O", "", f"it {tag}", ""]
        (tmp_path / f"{name}.conll").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.costly
@pytest.mark.parametrize("option", ["context_words", "window_words"])
def test_neighbouring_sentences_tell_what_a_sentence_does_not(train, encoder_folder, references, option):
    objective = {"name": "token_classification", option: 6}
    result, out = train(encoder_folder, references, objective, max_steps=120)
    assert result.extra_metrics["f1"] > 0.95
    documents = [["Ada", "it"], ["Rome", "it"]]
    sentences = [sentence_of([word], number) for number, words in enumerate(documents) for word in words]
    tagged = open_classifier(str(out)).tag_words(with_context(sentences, 6))
    assert [tags for tags, _ in tagged] == [["O"], ["B-PER"], ["O"], ["B-LOC"]]


def test_context_needs_documents(train, encoder_folder, tmp_path):
    row = {"tokens": ["Ada"], "tags": ["B-PER"]}
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InvalidData, match="'context_words' needs documents of several sentences"):
        train(encoder_folder, tmp_path, {"name": "token_classification", "context_words": 4})


@pytest.mark.costly
@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("has_features", [False, True])
def test_the_served_classifier_predicts_what_was_trained(
    train, encoder_folder, tagged, word_vectors, crf, has_features
):
    options = {"word_vectors": word_vectors, "lstm_size": 8, "sparse_features": True} if has_features else {}
    _, out = train(encoder_folder, tagged, {"name": "token_classification", "crf": crf, **options}, max_steps=20)
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
        with_token = [word for word, index in zip(words, pieces.first_pieces, strict=True) if index is not None]
        features = encode_words(with_token, served.vector_rows, [True, *[False] * (len(with_token) - 1)])
        features_NF = torch.from_numpy(features) if has_features else None
        logits_NK = classifier.word_logits(ids_BT, is_labelled_BT, segments_BT, segments_BT, features_NF)
        if crf:
            mask_BT = torch.ones(1, len(indices), dtype=torch.bool)
            expected = classifier.head.crf.decode(logits_NK[None], mask_BT)[0]
        else:
            expected = logits_NK.argmax(dim=1).tolist()
    by_word = dict(zip([n for n, index in enumerate(pieces.first_pieces) if index is not None], expected, strict=True))
    assert tags == [served.config.labels[by_word[n]] if n in by_word else "O" for n in range(len(words))]


@pytest.mark.costly
def test_joined_sentences_have_the_same_features_in_training_and_use(train, encoder_folder, tagged, monkeypatch):
    options = {"sparse_features": True, "window_words": 40}
    _, out = train(encoder_folder, tagged, {"name": "token_classification", **options}, max_steps=1)
    served = open_classifier(str(out))
    sentences = [sentence_of(text.split()) for text in ("Ada left .", "Rome is in New York .", "She met Ada .")]
    objective = TokenClassificationObjective(labels=served.config.labels, **options)
    context = ExampleContext(Renderer(served.tokenizer, ""), served.max_tokens)
    (example,) = objective.examples(join_sentences(sentences), context)
    trained_NF = objective._features(collate([[example]], pad_id=0)).numpy()
    used, tags = [], served.engine.tags
    monkeypatch.setattr(served.engine, "tags", lambda *arguments: used.append(arguments[2]) or tags(*arguments))
    served.tag_words(sentences)
    (used_NF,) = used
    np.testing.assert_array_equal(used_NF, trained_NF)
    assert used_NF[:, START_COLUMN].nonzero()[0].tolist() == [0, 3, 9]


@pytest.mark.costly
def test_a_word_without_a_token_is_outside(train, encoder_folder, tagged):
    _, out = train(encoder_folder, tagged, "token_classification", max_steps=4)
    served = open_classifier(str(out))
    assert served.tag_words([sentence_of([])]) == [([], [])]
    assert served.tag(["", "  "]) == [TaggedText("", ()), TaggedText("  ", ())]
