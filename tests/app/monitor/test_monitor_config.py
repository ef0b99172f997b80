"""The configuration: names of sources, and the lateness that feeds need."""

from turnwise.app.monitor.monitor_config import MonitorConfig, SourceConfig


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
