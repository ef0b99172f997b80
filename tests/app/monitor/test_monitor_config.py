"""The configuration: names of sources, and the lateness that feeds need."""

from pathlib import Path

import pytest

from turnwise.app.monitor.detection import load_detection
from turnwise.app.monitor.monitor_config import MonitorConfig, SourceConfig, load_config
from turnwise.app.monitor.open_monitor import open_sources
from turnwise.core.errors import InvalidParameter


def test_the_default_name_of_a_feed_holds_no_token():
    assert SourceConfig(kind="feed", url="https://x.example/f.xml?token=SECRET#a").source_name == (
        "feed:https://x.example/f.xml"
    )
    assert SourceConfig(kind="stdin").source_name == "stdin"


def test_windows_stay_open_for_texts_that_the_next_poll_of_a_feed_delivers():
    feeds = tuple(SourceConfig(kind="feed", url=f"https://x.example/{n}", poll_seconds=n) for n in (60, 600))
    assert MonitorConfig(sources=feeds, lateness_seconds=10).window_lateness_seconds == 720
    assert MonitorConfig(sources=feeds, lateness_seconds=900).window_lateness_seconds == 900
    assert MonitorConfig(lateness_seconds=10).window_lateness_seconds == 10


def test_the_topics_flag_replaces_the_tagger_of_the_file(tmp_path):
    path = tmp_path / "monitor.yaml"
    path.write_text("entities: {model: names}\n")
    config = load_config(path, {"topics": "topics.yaml"})
    assert (config.topics, config.entities) == (Path("topics.yaml"), None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_seconds": "5m"}, "'window_seconds' should be a valid integer"),
        ({"window_second": 300}, "did you mean 'window_seconds'"),
        ({"close_after": None}, "'close_after' should be a valid integer"),
        ({"window_seconds": 7}, "must divide a day"),
    ],
)
def test_wrong_settings_of_the_detector_are_explained(settings, message):
    with pytest.raises(InvalidParameter, match=message):
        load_detection(settings)


def test_the_length_of_a_window_is_an_integer():
    """It is a part of the ids of alerts, by the starts of windows."""
    assert repr(load_detection({"window_seconds": 600.0}).window_seconds) == "600"


def test_a_closed_standard_input_is_explained(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InvalidParameter, match="Standard input is closed"), open_sources([SourceConfig(kind="stdin")]):
        pass
