"""A monitor that is opened from its configuration, and stores that continue with another classifier of sentiment."""

import json

import pytest

from annotated_data import write_classifier
from monitor_stand_ins import START
from turnwise.app.monitor.monitor_config import load_config
from turnwise.app.monitor.monitor_state import RELABEL_NOTICE
from turnwise.app.monitor.open_monitor import open_monitor
from turnwise.core.errors import InvalidParameter
from turnwise.core.stream_texts import StreamText
from turnwise.engine.native.library import library
from turnwise.models.classifier_config import ClassifierConfig

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def classifier_folder(tmp_path, tokenizer):
    config = ClassifierConfig("sequence_classification", ("bullish", "bearish"))
    return write_classifier(tmp_path / "moods", tokenizer, config, num_heads=3)


@pytest.fixture
def open_it(tmp_path, classifier_folder):
    """Opens a monitor with the classifier, and with some keys of the configuration."""

    def open_configured(**values):
        topics = [{"name": "Acme", "words": ["acme"]}]
        flags = {"topics": topics, "classifier": str(classifier_folder), "db": str(tmp_path / "monitor.db"), **values}
        return open_monitor(load_config(None, flags), is_recording=True)

    return open_configured


def process_windows(monitor):
    """Two windows, so that the detector of a topic is stored."""
    texts = [StreamText(f"{seconds}", "acme rises", START + seconds, "test") for seconds in (0, 600, 1200)]
    monitor.pipeline.process(texts)
    assert "detector:Acme" in monitor.store.states()


def test_topics_are_learned_anew_after_a_training_into_the_same_folder(open_it, classifier_folder):
    with open_it() as monitor:
        process_windows(monitor)
    with open_it() as monitor:
        assert list(monitor.pipeline.notices) == []
    path = classifier_folder / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": 0.3}))
    with open_it() as monitor:
        assert list(monitor.pipeline.notices) == [RELABEL_NOTICE]


@pytest.mark.skipif(library() is None, reason="no compiled library")
def test_8_bit_weights_are_the_same_classifier(open_it):
    with open_it() as monitor:
        process_windows(monitor)
    with open_it(classifier_quantize="int8") as monitor:
        assert list(monitor.pipeline.notices) == []


def test_a_quantization_that_does_not_apply_is_refused(open_it):
    with pytest.raises(InvalidParameter, match="to int8 only, not to int4"), open_it(classifier_quantize="int4"):
        pass
    with (
        pytest.raises(InvalidParameter, match="no classifier of sentiment to quantize"),
        open_it(classifier="none", classifier_quantize="int8"),
    ):
        pass
