"""A feed that answers slowly, or never, delays no other source."""

import threading
from http.server import BaseHTTPRequestHandler

import pytest
from list_source import ListSource, open_pipeline, texts_of
from source_batches import contents, read_batch
from webhook_receiver import serve

from monitor_stand_ins import START
from turnwise.app.monitor.runner import RunOptions, run_sources
from turnwise.app.monitor.sources import feed_source
from turnwise.app.monitor.sources.background_call import BackgroundCall
from turnwise.app.monitor.sources.feed_source import FeedSource
from turnwise.store import open_monitor_store

FEED = b"<rss version='2.0'><channel><item><title>acme slow</title><guid>g</guid></item></channel></rss>"


class SlowFeed(BaseHTTPRequestHandler):
    """Answers when `server.release` is set."""

    def do_GET(self):
        self.server.received.append(self.path)
        self.server.release.wait(60)
        self.send_response(200)
        self.send_header("Content-Length", str(len(FEED)))
        self.end_headers()
        self.wfile.write(FEED)

    def log_message(self, *_):
        pass


@pytest.fixture
def feed():
    pytest.importorskip("feedparser")
    with serve(SlowFeed) as server:
        server.root, server.release = f"http://127.0.0.1:{server.server_port}", threading.Event()
        yield server
        server.release.set()


@pytest.fixture
def store():
    opened = open_monitor_store("sqlite:///:memory:")
    yield opened
    opened.close()


def test_other_sources_are_read_while_a_feed_is_requested_and_no_window_closes_without_it(feed, store):
    listed = ListSource("a", texts_of("a", [*range(6), 200]), has_end=False)
    slow = FeedSource(f"{feed.root}/feed", "feed", clock=lambda: START + 1.0)
    figures = []

    def sleep(_seconds):
        if not figures:
            figures.append(store.figures())
            feed.release.set()
        slow._call.wait(60)

    run_sources(
        open_pipeline(store), [slow, listed], RunOptions(once=True, batch_size=4), is_stopped=lambda: False,
        on_batch=lambda *_: None, clock=lambda: START, sleep=sleep,
    )  # fmt: skip
    assert figures == [{"texts": 7}]
    assert store.figures()["texts"] == 8
    assert store.figures().get("late") is None, "the entry of the feed is of the first window"
    assert "acme slow" in contents(entry.text for entry in store.texts_from(0))


def test_a_feed_that_never_answers_fails_at_its_time_limit_and_is_not_requested_twice_at_once(feed, monkeypatch):
    monkeypatch.setattr(feed_source, "FEED_SECONDS", 0.05)
    monkeypatch.setattr(feed_source, "PARSE_SECONDS", 0.0)
    clock = [0.0]
    source = FeedSource(f"{feed.root}/feed", "s", poll_seconds=60, clock=lambda: clock[0])
    for number in range(3):
        batch = read_batch(source)
        assert (batch.texts, batch.error) == ((), "no answer in time")
        clock[0] += 60 * 2.0 ** (number + 1) + 1
    assert feed.received == ["/feed"]
    feed.release.set()
    source._call.wait(60)
    monkeypatch.setattr(feed_source, "FEED_SECONDS", 60.0)
    assert contents(read_batch(source).texts) == ["acme slow"]
    assert feed.received == ["/feed"] * 2


def test_a_request_that_ends_after_its_time_limit_is_a_failure_and_changes_nothing(feed, monkeypatch):
    monkeypatch.setattr(feed_source, "FEED_SECONDS", 0.05)
    monkeypatch.setattr(feed_source, "PARSE_SECONDS", 0.0)
    clock = [0.0]
    source = FeedSource(f"{feed.root}/feed", "s", poll_seconds=60, clock=lambda: clock[0])
    position = {"entries": ["old"]}
    assert read_batch(source, position).error == "no answer in time"
    clock[0] += 121
    assert source.read(position, 9).is_waiting, "the second poll is due while the first request still runs"
    feed.release.set()
    source._call.wait(60)
    late = source.read(position, 9)
    assert (late.texts, late.position, late.error) == ((), position, "no answer in time")
    monkeypatch.setattr(feed_source, "FEED_SECONDS", 60.0)
    clock[0] += 241
    assert contents(read_batch(source, position).texts) == ["acme slow"]


def test_the_result_of_a_call_that_returned_in_time_can_be_read_later():
    call = BackgroundCall(lambda: 3, 0.5, "test")
    call.wait(60)
    call._deadline = 0.0
    assert call.result() == 3


def test_a_call_that_returned_too_late_has_no_result():
    release = threading.Event()
    call = BackgroundCall(lambda: release.wait(60), 0.0, "test")
    release.set()
    call.wait(60)
    with pytest.raises(TimeoutError, match="no answer in time"):
        call.result()


def test_a_call_returns_and_raises_what_its_function_does():
    call = BackgroundCall(lambda: 3, 60.0, "test")
    call.wait(60)
    assert (call.is_ready, call.result()) == (True, 3)
    failing = BackgroundCall(lambda: [][0], 60.0, "test")
    failing.wait(60)
    with pytest.raises(IndexError):
        failing.result()
