"""Bundled classifiers by name: `classify`, `serve`, `models`, and the monitor, with and without their base model."""

import json

import pytest

from annotated_data import write_adapter_classifier, write_encoder
from turnwise.app.classifiers import open_classification_service
from turnwise.app.monitor.default_sentiment import DEFAULT_CLASSIFIER, sentiment_classifier
from turnwise.cli.serve_classifiers import parse_classifiers
from turnwise.core.errors import ModelNotFound
from turnwise.models.bundled_models import BUNDLED_MODELS, BundledModel
from turnwise.models.classifier_config import ClassifierConfig

MISSING = (
    f"{DEFAULT_CLASSIFIER} is an adapter of minilm, which is not on this machine: "
    "run turnwise models pull minilm (84 MB, Apache-2.0)."
)
TOPICS = "topics:\n  - {name: Acme, words: [acme]}\n"


@pytest.fixture
def minilm(tmp_path, tokenizer):
    """A random encoder that is stored as `minilm`."""
    folder = tmp_path / "home" / "models" / "minilm"
    folder.parent.mkdir(parents=True)
    write_encoder(folder, tokenizer)
    source = {"name": "minilm", "title": "", "kind": "embeddings", "license": "MIT", "source": "a test"}
    (folder / "source.json").write_text(json.dumps(source))
    return folder


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """The table has a classifier of sentiment; its folder is written by `classifier`."""
    model = BundledModel(
        DEFAULT_CLASSIFIER, str(tmp_path / "bundled"), "classification", "tones of posts", "MIT", "minilm"
    )
    monkeypatch.setitem(BUNDLED_MODELS, model.name, model)
    return model


@pytest.fixture
def classifier(bundled, minilm):
    config = ClassifierConfig("sequence_classification", ("bearish", "bullish"))
    return write_adapter_classifier(bundled.path, minilm, config)


def test_classify_finds_it_by_name(turnwise, classifier):
    code, out, err = turnwise("classify", DEFAULT_CLASSIFIER, "--text", "Acme falls", "--threads", 1)
    assert (code, err) == (0, "")
    assert out.split("\t")[0] in ("bearish", "bullish")


def test_it_is_served_under_its_name(classifier):
    assert parse_classifiers([DEFAULT_CLASSIFIER]) == {DEFAULT_CLASSIFIER: DEFAULT_CLASSIFIER}
    assert open_classification_service(DEFAULT_CLASSIFIER, threads=1).name == DEFAULT_CLASSIFIER


def test_models_lists_and_shows_it(turnwise, classifier):
    models = {model["name"]: model for model in json.loads(turnwise("models", "list", "--json")[1])}
    assert models[DEFAULT_CLASSIFIER]["status"] == "bundled"
    assert models[DEFAULT_CLASSIFIER]["kind"] == "classification"
    assert models[DEFAULT_CLASSIFIER]["bytes"] > 0
    out = turnwise("models", "show", DEFAULT_CLASSIFIER)[1]
    assert "base model  minilm" in out
    assert "labels      bearish, bullish" in out


def test_calibration_does_not_change_the_package(turnwise, classifier, tmp_path):
    before = (classifier / "classifier.json").read_text()
    rows = [{"text": f"Acme {number}", "label": "bearish"} for number in range(20)]
    (tmp_path / "valid.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    code, _, err = turnwise("calibrate", DEFAULT_CLASSIFIER, tmp_path / "valid.jsonl")
    assert code == 2
    assert f"comes with the package: copy {classifier} and calibrate the copy, or use --dry-run." in " ".join(
        err.split()
    )
    code, out, err = turnwise("calibrate", DEFAULT_CLASSIFIER, tmp_path / "valid.jsonl", "--dry-run", "--threads", 1)
    assert code == 0, err
    assert "Nothing was written (--dry-run)." in out
    assert (classifier / "classifier.json").read_text() == before


def test_without_its_base_model_every_command_says_what_to_pull(turnwise, bundled):
    code, _, err = turnwise("classify", DEFAULT_CLASSIFIER, "--text", "a")
    assert (code, MISSING in err) == (2, True)
    with pytest.raises(ModelNotFound) as error:
        parse_classifiers([DEFAULT_CLASSIFIER])
    assert str(error.value) == MISSING


class TestSentimentOfTheMonitor:
    def test_it_is_that_of_the_bundled_classifier(self, classifier):
        model, note = sentiment_classifier(None)
        assert model == DEFAULT_CLASSIFIER
        assert note == "Sentiment: financial-sentiment. --classifier none turns it off."

    def test_without_the_base_model_there_is_none_and_a_sentence_says_why(self, bundled):
        assert sentiment_classifier(None) == (
            None, f"Texts get no sentiment. {MISSING} Or name another one with --classifier."
        )  # fmt: skip

    @pytest.mark.parametrize(("configured", "model"), [("none", None), ("runs/mine", "runs/mine")])
    def test_a_classifier_that_is_named_needs_no_explanation(self, classifier, configured, model):
        assert sentiment_classifier(configured) == (model, None)

    def test_a_package_without_the_classifier_has_none(self, monkeypatch):
        monkeypatch.delitem(BUNDLED_MODELS, DEFAULT_CLASSIFIER, raising=False)
        assert sentiment_classifier(None) == (None, None)

    @pytest.mark.parametrize(("flags", "is_labelled"), [((), True), (("--classifier", "none"), False)])
    def test_a_replay_labels_texts_unless_it_is_turned_off(self, turnwise, classifier, tmp_path, flags, is_labelled):
        from turnwise.store import open_monitor_store

        times = [1_700_000_000 + 400 * number for number in range(4)]
        posts = [{"id": str(time), "time": time, "text": f"Acme, post {time}"} for time in times]
        (tmp_path / "posts.jsonl").write_text("".join(f"{json.dumps(post)}\n" for post in posts))
        (tmp_path / "topics.yaml").write_text(TOPICS)
        db = tmp_path / "replay.db"
        code, _, err = turnwise(
            "monitor", "replay", tmp_path / "posts.jsonl", "--topics", tmp_path / "topics.yaml", "--db", db, *flags
        )
        assert code == 0, err
        assert ("Sentiment: financial-sentiment." in err) == is_labelled
        store = open_monitor_store(f"sqlite:///{db}")
        sentiments = [text.sentiment for text in store.texts_from(0)]
        store.close()
        assert len(sentiments) == 4
        assert all((sentiment in ("bearish", "bullish")) == is_labelled for sentiment in sentiments)
