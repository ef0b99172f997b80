"""Feeds: every entry once, limits on time, size and redirects, and reasons for what cannot be read."""

from http.server import BaseHTTPRequestHandler

import pytest
from source_batches import contents, read_all, read_batch
from webhook_receiver import serve

from turnwise.app.monitor.http_client import HttpResponse, is_public_address
from turnwise.app.monitor.sources.feed_source import FeedSource
from turnwise.core.errors import InvalidParameter

RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><guid>2</guid><title>Acme &amp; Co rises</title>
<description>&lt;p&gt;By &lt;b&gt;5&lt;/b&gt; percent.&lt;/p&gt;</description>
<pubDate>Tue, 14 Nov 2023 22:13:20 GMT</pubDate></item>
<item><guid>1</guid><title>Older</title><pubDate>Tue, 14 Nov 2023 21:13:20 GMT</pubDate></item></channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>N</title><entry><id>urn:1</id><title>Atom entry</title>
<updated>2023-11-14T22:13:20Z</updated><summary>Text</summary></entry></feed>"""


class FeedServer(BaseHTTPRequestHandler):
    """Answers with the status, headers and body that `server.answers` has for a path."""

    def do_GET(self):
        self.server.received.append((self.path, dict(self.headers.items())))
        status, headers, body = self.server.answers[self.path]
        if headers.get("ETag") and self.headers["If-None-Match"] == headers["ETag"]:
            status, body = 304, b""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def feed():
    pytest.importorskip("feedparser")
    with serve(FeedServer) as server:
        server.root = f"http://127.0.0.1:{server.server_port}"
        server.answers = {
            "/rss": (200, {"ETag": '"v1"', "Content-Type": "application/rss+xml"}, RSS),
            "/atom": (200, {}, ATOM),
            "/moved": (301, {"Location": "/rss"}, b""),
            "/loop": (302, {"Location": "/loop"}, b""),
            "/file": (302, {"Location": "file:///etc/passwd"}, b""),
            "/page": (200, {"Content-Type": "text/html"}, b"<html><p>hello</p></html>"),
            "/error": (500, {}, RSS),
            "/gzip": (200, {"Content-Encoding": "gzip"}, RSS),
        }
        yield server


def test_a_feed_gives_its_entries_oldest_first_and_unchanged_ones_are_not_sent_again(feed):
    clock = [0.0]
    source = FeedSource(f"{feed.root}/rss", "s", poll_seconds=60, clock=lambda: clock[0])
    texts, position = read_all(source)
    assert contents(texts) == ["Older", "Acme & Co rises\nBy 5 percent."]
    assert texts[1].time == 1_700_000_000
    assert read_all(source, position)[0] == []
    assert len(feed.received) == 1, "the pause is not over"
    clock[0] = 61
    assert read_all(source, position)[0] == []
    assert feed.received[1][1]["If-None-Match"] == '"v1"'
    again, _ = read_all(FeedSource(f"{feed.root}/rss", "s"), None)
    assert [text.id for text in again] == [text.id for text in texts], "ids are those of the entries"


def test_atom_feeds_and_redirects_are_read(feed):
    assert contents(read_all(FeedSource(f"{feed.root}/atom", "s"))[0]) == ["Atom entry\nText"]
    assert len(read_all(FeedSource(f"{feed.root}/moved", "s"))[0]) == 2


def rss(numbers):
    items = "".join(f"<item><title>entry {number}</title><guid>g{number}</guid></item>" for number in numbers)
    return f"<rss version='2.0'><channel><title>x</title>{items}</channel></rss>".encode()


@pytest.mark.parametrize("headers", [{}, {"ETag": '"v1"'}])
def test_every_entry_of_a_long_feed_is_read_once(feed, headers):
    feed.answers["/long"] = (200, headers, rss(range(300)))
    source = FeedSource(f"{feed.root}/long", "s")
    first = read_batch(source, None, 256)
    source.confirm(first.position)
    second = read_batch(source, first.position, 256)
    source.confirm(second.position)
    assert contents([*first.texts, *second.texts]) == [f"entry {number}" for number in range(300)]
    assert (first.has_more, second.has_more) == (True, False)
    assert read_batch(source, second.position, 256).texts == ()


def test_entries_that_were_not_stored_are_returned_again(feed):
    source = FeedSource(f"{feed.root}/rss", "s")
    first = read_batch(source, None, 1)
    assert read_batch(source, None, 1).texts == first.texts
    source.confirm(first.position)
    assert contents(read_batch(source, first.position, 1).texts) == ["Acme & Co rises\nBy 5 percent."]


def test_entries_stay_known_for_as_long_as_the_feed_has_them(feed):
    feed.answers["/feed"] = (200, {}, rss([1, 2]))
    _, position = read_all(FeedSource(f"{feed.root}/feed", "s"))
    feed.answers["/feed"] = (200, {}, rss([2, 3]))
    assert contents(read_all(FeedSource(f"{feed.root}/feed", "s"), position)[0]) == ["entry 3"]


def test_a_feed_names_the_time_of_its_next_poll_until_it_fails_for_long(feed):
    clock = [1000.0]
    source = FeedSource(f"{feed.root}/rss", "s", poll_seconds=60, clock=lambda: clock[0])
    batch = read_batch(source, None, 9)
    source.confirm(batch.position)
    assert batch.next_read == 1060
    feed.answers["/rss"] = (500, {}, b"")
    clock[0] = 1061
    assert read_batch(source, None, 9).next_read == 1060, "others wait for the entries that were not read"
    clock[0] = 10_000
    assert read_batch(source, None, 9).next_read is None


def test_a_feed_is_polled_although_the_clock_was_set_back(feed):
    clock = [1e6]
    source = FeedSource(f"{feed.root}/rss", "s", clock=lambda: clock[0])
    source.confirm(read_batch(source, None, 9).position)
    clock[0] = 5.0
    read_batch(source, None, 9)
    assert len(feed.received) == 2


def test_a_redirect_to_a_private_network_is_not_followed(feed, monkeypatch):
    are_public = [True, False]  # the configured server, and where it redirects to
    monkeypatch.setattr("turnwise.app.monitor.http_client.is_public_address", lambda _: are_public.pop(0))
    assert "private network" in read_batch(FeedSource(f"{feed.root}/moved", "s"), None, 9).error
    assert [path for path, _ in feed.received] == ["/moved"]


def test_a_redirect_from_https_to_http_is_not_followed(monkeypatch):
    pytest.importorskip("feedparser")
    urls = []

    def redirect(_method, url, *_, **__):
        urls.append(url)
        return HttpResponse(302, {"location": "http://127.0.0.1/feed"}, b"", False)

    monkeypatch.setattr("turnwise.app.monitor.sources.feed_request.send_request", redirect)
    assert read_batch(FeedSource("https://example.com", "s"), None, 9).error == "the feed redirects from https to http"
    assert urls == ["https://example.com"]


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True), ("127.0.0.2", False), ("10.1.2.3", False), ("192.168.0.1", False),
        ("169.254.169.254", False), ("::1", False), ("fe80::1%eth0", False), ("::ffff:127.0.0.1", False),
        ("2606:2800:220:1::1", True), ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_addresses_of_this_machine_and_of_private_networks_are_not_public(address, is_public):
    assert is_public_address(address) == is_public


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/loop", "status 302"), ("/file", "not an http or https URL"), ("/page", "not an RSS or Atom feed"),
        ("/error", "status 500"), ("/gzip", "compressed"),
    ],
)  # fmt: skip
def test_what_is_no_feed_gives_no_texts_and_a_reason(feed, path, error):
    batch = read_batch(FeedSource(f"{feed.root}{path}", "s"), None, 9)
    assert batch.texts == ()
    assert error in batch.error


def test_a_feed_that_is_too_large_is_rejected(feed, monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.sources.feed_request.MAX_FEED_BYTES", 100)
    batch = read_batch(FeedSource(f"{feed.root}/rss", "s"), None, 9)
    assert batch.texts == ()
    assert "more than 100 bytes" in batch.error


def test_a_feed_reads_no_files_of_this_machine(feed, tmp_path):
    (tmp_path / "secret").write_text("do-not-read")
    entity = f'<!DOCTYPE r [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>'.encode()
    feed.answers["/xxe"] = (200, {}, RSS.replace(b'"1.0"?>', b'"1.0"?>' + entity).replace(b"Older", b"Older &x;"))
    texts, _ = read_all(FeedSource(f"{feed.root}/xxe", "s"))
    assert not any("do-not-read" in text.text for text in texts)
    with pytest.raises(InvalidParameter, match="not an http or https URL"):
        FeedSource("file:///etc/passwd", "s")
