"""Opening classifiers: 8-bit weights, scores that do not depend on the batch, and what cannot be quantized."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotated_data import write_classifier
from turnwise.app.classifiers import classifier_digest, open_classification_service, open_classifier
from turnwise.core.errors import InvalidParameter
from turnwise.engine import classifier_engine
from turnwise.engine.native.library import library
from turnwise.models.classifier_config import ClassifierConfig

pytestmark = pytest.mark.usefixtures("one_thread")
needs_library = pytest.mark.skipif(library() is None, reason="no compiled library")

TEXTS = ["Ada", "Dan left Oslo, and Ben saw Lima!", "谢谢你 Ada", "Ada likes Rome.", "a " * 100, "Cleo saw New York."]
CONFIGS = {
    pooling: ClassifierConfig("sequence_classification", tuple("abcdefg"), pooling=pooling, threshold=0.2)
    for pooling in ("mean", "first", "last")
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer):
    root = tmp_path_factory.mktemp("classifiers")
    return {name: write_classifier(root / name, tokenizer, config, num_heads=3) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def classifiers(folders):
    """Classifiers by pooling and quantization."""
    return {
        (name, quantize): open_classifier(str(folder), quantize=quantize, threads=2)
        for name, folder in folders.items()
        for quantize in (None, "int8")
    }


@pytest.fixture(scope="module")
def decoder_folder(tmp_path_factory, model_folder, tokenizer):
    """A classifier on a decoder."""
    from turnwise.models.checkpoint import load
    from turnwise.models.classifier import add_classifier
    from turnwise.training.export import export_model

    config = ClassifierConfig("sequence_classification", ("good", "bad"), pooling="last")
    folder = tmp_path_factory.mktemp("classifiers") / "decoder"
    export_model(folder, add_classifier(load(model_folder), config, dropout=0.0, seed=0), tokenizer)
    return folder


@needs_library
@pytest.mark.parametrize("quantize", [None, "int8"])
@pytest.mark.parametrize("pooling", CONFIGS)
@settings(max_examples=8, deadline=None)
@given(numbers=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=12))
def test_a_text_has_the_same_scores_alone_and_in_any_batch(classifiers, pooling, quantize, numbers):
    classifier = classifiers[pooling, quantize]
    together = classifier.classify([TEXTS[number] for number in numbers])
    assert together == [classifier.classify([TEXTS[number]])[0] for number in numbers]


@needs_library
def test_8_bit_weights_change_the_probabilities_slightly(classifiers):
    exact, rounded = (classifiers["mean", quantize].classify(TEXTS) for quantize in (None, "int8"))
    differences = [
        abs(dict_of(left)[label] - dict_of(right)[label])
        for left, right in zip(exact, rounded, strict=True)
        for label in dict_of(left)
    ]
    assert 0 < max(differences) < 0.1


def dict_of(labels):
    """Probabilities by label."""
    return {score.label: score.probability for score in labels.scores}


@pytest.mark.parametrize("open_it", [open_classifier, open_classification_service])
def test_what_cannot_be_quantized_is_refused_by_name(folders, decoder_folder, open_it):
    with pytest.raises(InvalidParameter, match="to int8 only, not to int4"):
        open_it(str(folders["mean"]), quantize="int4")
    with pytest.raises(InvalidParameter, match=r"on a decoder.*int8 is for classifiers on encoders"):
        open_it(str(decoder_folder), quantize="int8")
    assert open_classifier(str(decoder_folder)).classify(["Ada"])[0].labels


def test_8_bit_weights_need_the_compiled_library(folders, monkeypatch):
    monkeypatch.setattr(classifier_engine, "library_for_encoder", lambda config: None)
    with pytest.raises(InvalidParameter, match="need the compiled library"):
        open_classifier(str(folders["mean"]), quantize="int8")


def test_the_digest_changes_with_every_file_that_decides_the_labels(tmp_path, folders, tokenizer):
    first = classifier_digest(str(folders["mean"]))
    copy = shutil.copytree(folders["mean"], tmp_path / "copy")
    assert classifier_digest(str(copy)) == first
    digests = {first}
    for name in ("classifier.json", "classifier.safetensors", "model.safetensors", "tokenizer.json"):
        content = (copy / name).read_bytes()
        if name.endswith(".json"):
            (copy / name).write_bytes(content + b"\n")
        else:
            (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        digests.add(classifier_digest(str(copy)))
    assert len(digests) == 5
