"""Sources: every text once, in order, also after a restart, a rotation, a truncation and a half-written line."""

import http.client
import json
import os
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_monitor_webhooks import serve

from turnwise.app.monitor.http_client import HttpResponse, is_public_address
from turnwise.app.monitor.sources import file_lines
from turnwise.app.monitor.sources.feed_source import FeedSource
from turnwise.app.monitor.sources.file_source import FileSource
from turnwise.app.monitor.sources.folder_source import FolderSource
from turnwise.app.monitor.sources.pipe_source import PipeSource
from turnwise.app.monitor.sources.push_source import PushSource
from turnwise.app.monitor.sources.text_records import TextRecords, parse_time
from turnwise.core.errors import InvalidData, InvalidParameter, UserError

RECORDS = TextRecords("s", clock=lambda: 99.0)


def read_all(source, position=None, limit=2):
    """Texts up to the end of what the source has, and the position."""
    texts = []
    while True:
        batch = source.read(position, limit)
        source.confirm(batch.position)
        texts += batch.texts
        position = json.loads(json.dumps(batch.position))  # as the store keeps it
        if not batch.has_more:
            return texts, position


def contents(texts):
    return [text.text for text in texts]


# Records


def test_a_json_line_gives_text_time_id_and_labels():
    line = '{"text": " hé ", "time": "2023-11-14T22:13:20Z", "id": 7, "sentiment": "bearish", "topics": ["A"]}'
    text = RECORDS.parse_line(line.encode(), "p")
    assert (text.id, text.text, text.time, text.source) == ("s:7", "hé", 1_700_000_000.0, "s")
    assert (text.sentiment, text.topics) == ("bearish", ("A",))


def test_a_plain_line_has_the_time_of_its_arrival_and_an_id_of_its_place():
    first, second, again = (RECORDS.parse_line(b"hello", place) for place in ("p1", "p2", "p1"))
    assert (first.text, first.time) == ("hello", 99.0)
    assert first.id == again.id != second.id


@pytest.mark.parametrize(
    "line",
    [b'{"text": 3}', b'{"text": ""}', b"{", b'{"text": "x", "time": "soon"}', b'{"text": "x", "time": -1}', b"  "],
)
def test_a_line_without_a_text_or_with_an_invalid_time_is_malformed(line):
    assert RECORDS.parse_line(line, "p") is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_700_000_000, 1.7e9), (1_700_000_000_500, 1_700_000_000.5), ("2023-11-14T22:13:20", 1.7e9),
        ("2023-11-14T23:13:20+01:00", 1.7e9), (True, None), ("", None), (float("inf"), None), (10**400, None),
        ([], None),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_times_are_seconds_milliseconds_or_iso(value, seconds):
    assert parse_time(value) == seconds


def test_number_and_length_of_topics_are_limited():
    topics = ["x" * 300, "", *(f"t{number}" for number in range(30)), "t1"]
    text = RECORDS.parse_record({"text": "a", "topics": topics}, "p")
    assert text.topics == ("x" * 200, *(f"t{number}" for number in range(19)))


def test_fields_can_have_other_names_and_unknown_ones_are_rejected():
    assert TextRecords("s", {"text": "body"}).parse_line(b'{"body": "x", "text": 1}', "p").text == "x"
    with pytest.raises(InvalidParameter, match="did you mean 'text'"):
        TextRecords("s", {"txt": "body"})


def test_a_text_that_utf_8_cannot_hold_is_repaired():
    assert RECORDS.parse_line(rb'{"text": "a\ud800b", "id": "\ud800"}', "p").text == "a?b"


# A followed file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "posts.log"


def append(path, content):
    with path.open("ab") as file:
        file.write(content)


def test_lines_are_read_as_they_are_added_and_a_half_line_waits(path):
    source = FileSource(path, RECORDS, "s")
    assert source.read(None, 9).texts == (), "the file does not exist yet"
    append(path, b"one\ntwo\nthr")
    texts, position = read_all(source)
    assert contents(texts) == ["one", "two"]
    append(path, b"ee\nfour\n")
    assert contents(read_all(FileSource(path, RECORDS, "s"), position)[0]) == ["three", "four"]


def test_a_complete_file_needs_no_last_line_break_and_must_exist(path):
    append(path, b"one\ntwo")
    assert contents(read_all(FileSource(path, RECORDS, "s", is_complete=True))[0]) == ["one", "two"]
    with pytest.raises(InvalidData, match=r"There is no file .*nothing"):
        FileSource(path.with_name("nothing"), RECORDS, "s", is_complete=True)


def test_a_rotated_file_is_read_to_its_end_before_the_new_one(path):
    append(path, b"one\ntwo\n")
    texts, position = read_all(FileSource(path, RECORDS, "s"))
    append(path, b"three\n")
    path.rename(path.with_name("posts.log.1"))
    append(path.with_name("posts.log.1"), b"four\n")
    source = FileSource(path, RECORDS, "s")  # a restart
    texts, position = read_all(source, position)
    assert contents(texts) == ["three", "four"]
    append(path, b"five\n")
    texts, position = read_all(source, position)
    assert contents(texts) == ["five"]
    assert read_all(source, position)[0] == []


def rotate(path, suffix, seconds):
    """Rename a file whose last line was written at a time."""
    os.utime(path, (seconds, seconds))
    path.rename(path.with_name(path.name + suffix))


@pytest.mark.parametrize("name", ["posts.log", "posts[1].log"])
def test_files_that_were_rotated_while_the_monitor_was_stopped_are_read_in_order(tmp_path, name):
    path = tmp_path / name
    append(path, b"one\n")
    os.utime(path, (50, 50))
    (tmp_path / f"{name}.9").write_text("older\n")
    os.utime(tmp_path / f"{name}.9", (40, 40))
    _, position = read_all(FileSource(path, RECORDS, "s"))
    append(path, b"two\n")
    rotate(path, ".3", 100)
    append(path, b"")
    rotate(path, ".2", 150)
    append(path, b"three\n")
    rotate(path, ".1", 200)
    (tmp_path / f"{name}.bak").write_text("a copy\n")
    append(path, b"four\n")
    texts, position = read_all(FileSource(path, RECORDS, "s"), position, limit=1)
    assert contents(texts) == ["two", "three", "four"]
    assert len({text.id for text in texts}) == 3
    append(path, b"five\n")
    assert contents(read_all(FileSource(path, RECORDS, "s"), position)[0]) == ["five"]


@pytest.mark.parametrize("content", [b"new\n", b"new one that is longer than all that was there before\n"])
def test_a_truncated_file_is_read_from_its_beginning_with_new_ids(path, content):
    append(path, b"one\ntwo\n")
    source = FileSource(path, RECORDS, "s")
    old, position = read_all(source)
    path.write_bytes(content)
    texts, _ = read_all(source, position)
    assert contents(texts) == [content.decode().strip()]
    assert not {text.id for text in texts} & {text.id for text in old}


def test_a_line_that_is_too_long_is_skipped(path, monkeypatch):
    monkeypatch.setattr(file_lines, "MAX_LINE", 50)
    append(path, b"one\n" + b"x" * 500_000 + b"\ntwo\n" + b"y" * 60 + b"\nthree\n")
    source, position, texts, num_malformed = FileSource(path, RECORDS, "s"), None, [], 0
    while (batch := source.read(position, 1)).has_more or batch.texts:
        texts, num_malformed, position = [*texts, *batch.texts], num_malformed + batch.num_malformed, batch.position
    assert contents(texts) == ["one", "two", "three"]
    assert num_malformed == 2


@settings(max_examples=40, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=12).map(lambda piece: piece.replace(b"\0", b"\n")), max_size=12),
    limit=st.integers(1, 4),
)
def test_however_a_file_grows_its_lines_are_read_once(tmp_path_factory, pieces, limit):
    path = tmp_path_factory.mktemp("grow") / "f"
    source, position, texts = FileSource(path, RECORDS, "s"), None, []
    for piece in pieces:
        append(path, piece)
        added, position = read_all(source, position, limit)
        texts += added
    complete = b"".join(pieces).rpartition(b"\n")[0]
    expected = [RECORDS.parse_line(line, "") for line in complete.split(b"\n")]
    assert contents(texts) == [text.text for text in expected if text is not None]
    assert len({text.id for text in texts}) == len(texts)


# A folder


def test_a_folder_is_read_in_the_order_of_names_and_new_files_and_lines_are_added(tmp_path):
    clock = [0.0]
    source = FolderSource(tmp_path / "in", RECORDS, "s", clock=lambda: clock[0])
    assert source.read(None, 9).texts == ()
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "b.jsonl").write_text('{"text": "b1"}\nb2 unfinished')
    (folder / "a.txt").write_text("a1\na2\na3\n")
    (folder / ".hidden.txt").write_text("no\n")
    (folder / "picture.png").write_text("no\n")
    texts, position = read_all(source)
    assert contents(texts) == ["a1", "a2", "a3", "b1"]
    append(folder / "a.txt", b"a4\n")
    (folder / "c.log").write_text("c1\n")
    clock[0] = (folder / "b.jsonl").stat().st_mtime + 6
    texts, position = read_all(source, position)
    assert contents(texts) == ["a4", "b2 unfinished", "c1"]


@pytest.fixture
def folder(tmp_path):
    return FolderSource(tmp_path, RECORDS, "s", clock=lambda: 4e9)


@pytest.mark.parametrize("is_number_free", [True, False], ids=["the number may be given again", "it is in use"])
def test_a_file_that_is_deleted_and_created_again_has_new_ids(tmp_path, folder, is_number_free):
    ids, position = [], None
    for content in ("old\n", "new\n", "old\n"):
        (tmp_path / "today.jsonl").write_text(content)
        if not is_number_free:
            os.link(tmp_path / "today.jsonl", tmp_path / f".copy{len(ids)}")
        texts, position = read_all(folder, position)
        assert contents(texts) == [content.strip()]
        ids += [text.id for text in texts]
        (tmp_path / "today.jsonl").unlink()
        _, position = read_all(folder, position)
    assert len(set(ids)) == 3


def test_a_renamed_file_continues(tmp_path, folder):
    (tmp_path / "a.log").write_text("one\n")
    _, position = read_all(folder)
    (tmp_path / "a.log").rename(tmp_path / "b.log")
    append(tmp_path / "b.log", b"two\n")
    (tmp_path / "a.log").write_text("three\n")
    assert contents(read_all(folder, position)[0]) == ["three", "two"]


def test_the_beginning_of_a_json_object_waits_for_its_end(tmp_path, folder):
    path = tmp_path / "slow.jsonl"
    path.write_text('{"text": "half a li')
    batch = folder.read(None, 9)
    assert (batch.texts, batch.num_malformed) == ((), 0)
    append(path, b'ne"}')
    assert contents(folder.read(batch.position, 9).texts) == ["half a line"]


def test_positions_of_missing_files_are_limited(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.sources.folder_source.MAX_MISSING_FILES", 2)
    (tmp_path / "a.log").write_text("one\n")
    _, position = read_all(folder)
    missing = {str(-number): {**next(iter(position["files"].values())), "inode": -number} for number in range(1, 6)}
    kept = folder.read({"files": {**position["files"], **missing}}, 9).position["files"]
    assert kept == {**position["files"], "-4": missing["-4"], "-5": missing["-5"]}


def test_a_file_that_has_not_changed_is_not_opened(tmp_path, folder, monkeypatch):
    (tmp_path / "a.log").write_text("one\n")
    _, position = read_all(folder)
    opened = []
    open_path = type(tmp_path).open
    monkeypatch.setattr(type(tmp_path), "open", lambda path, mode: opened.append(path.name) or open_path(path, mode))
    assert folder.read(position, 9).texts == ()
    assert opened == []
    os.utime(tmp_path / "a.log", ns=(1, 1))
    folder.read(position, 9)
    assert opened == ["a.log"]


def test_a_file_that_cannot_be_read_gives_a_reason_and_does_not_hide_the_others(tmp_path, folder, monkeypatch):
    (tmp_path / "a.log").write_text("one\n")
    (tmp_path / "b.log").write_text("two\n")
    open_path = type(tmp_path).open

    def fail(path, mode):
        if path.name == "a.log":
            raise PermissionError(13, "Permission denied")
        return open_path(path, mode)

    monkeypatch.setattr(type(tmp_path), "open", fail)
    batch = folder.read(None, 9)
    assert contents(batch.texts) == ["two"]
    assert batch.error == "a.log: Permission denied"
    source = FileSource(tmp_path / "a.log", RECORDS, "s")
    assert (source.read(None, 9).texts, source.read(None, 9).error) == ((), "Permission denied")


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_position_of_another_kind_of_source_is_rejected(tmp_path, folder, is_folder):
    source, position = (
        (folder, {"inode": 1}) if is_folder else (FileSource(tmp_path / "x", RECORDS, "s"), {"files": {}})
    )
    with pytest.raises(InvalidData, match="another kind under this name"):
        source.read(position, 9)


# A pipe


def read_pipe(source, position, number):
    texts = []
    while len(texts) < number:
        batch = source.read(position, 10)
        source.confirm(batch.position)
        texts, position = [*texts, *batch.texts], batch.position
    return texts, position


def test_a_pipe_gives_lines_as_they_come_and_ends():
    reader, writer = os.pipe()
    source = PipeSource(reader, RECORDS, "s")
    assert source.read(None, 10).texts == ()
    source.confirm(source.read(None, 10).position)
    os.write(writer, b"one\ntw")
    assert contents(read_pipe(source, None, 1)[0]) == ["one"]
    os.write(writer, b"o\nthree")
    os.close(writer)
    texts, position = read_pipe(source, None, 2)
    assert contents(texts) == ["two", "three"]
    while not (batch := source.read(position, 10)).is_finished:
        source.confirm(batch.position)
    os.close(reader)


def test_lines_that_were_not_stored_are_returned_again_and_a_new_start_has_new_ids():
    ids = []
    position = None
    for _ in range(2):
        reader, writer = os.pipe()
        os.write(writer, b"one\n")
        os.close(writer)
        source = PipeSource(reader, RECORDS, "s")
        while not (batch := source.read(position, 10)).texts:
            source.confirm(batch.position)
        assert source.read(position, 10) is batch
        ids.append(batch.texts[0].id)
        position = batch.position
        source._thread.join()
        os.close(reader)
    assert ids[0] != ids[1]


# A feed

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
    first = source.read(None, 256)
    source.confirm(first.position)
    second = source.read(first.position, 256)
    source.confirm(second.position)
    assert contents([*first.texts, *second.texts]) == [f"entry {number}" for number in range(300)]
    assert (first.has_more, second.has_more) == (True, False)
    assert source.read(second.position, 256).texts == ()


def test_entries_that_were_not_stored_are_returned_again(feed):
    source = FeedSource(f"{feed.root}/rss", "s")
    first = source.read(None, 1)
    assert source.read(None, 1).texts == first.texts
    source.confirm(first.position)
    assert contents(source.read(first.position, 1).texts) == ["Acme & Co rises\nBy 5 percent."]


def test_entries_stay_known_for_as_long_as_the_feed_has_them(feed):
    feed.answers["/feed"] = (200, {}, rss([1, 2]))
    _, position = read_all(FeedSource(f"{feed.root}/feed", "s"))
    feed.answers["/feed"] = (200, {}, rss([2, 3]))
    assert contents(read_all(FeedSource(f"{feed.root}/feed", "s"), position)[0]) == ["entry 3"]


def test_a_feed_names_the_time_of_its_next_poll_until_it_fails_for_long(feed):
    clock = [1000.0]
    source = FeedSource(f"{feed.root}/rss", "s", poll_seconds=60, clock=lambda: clock[0])
    batch = source.read(None, 9)
    source.confirm(batch.position)
    assert batch.next_read == 1060
    feed.answers["/rss"] = (500, {}, b"")
    clock[0] = 1061
    assert source.read(None, 9).next_read == 1060, "others wait for the entries that were not read"
    clock[0] = 10_000
    assert source.read(None, 9).next_read is None


def test_a_feed_is_polled_although_the_clock_was_set_back(feed):
    clock = [1e6]
    source = FeedSource(f"{feed.root}/rss", "s", clock=lambda: clock[0])
    source.confirm(source.read(None, 9).position)
    clock[0] = 5.0
    source.read(None, 9)
    assert len(feed.received) == 2


def test_a_redirect_to_a_private_network_is_not_followed(feed, monkeypatch):
    are_public = [True, False]  # the configured server, and where it redirects to
    monkeypatch.setattr("turnwise.app.monitor.http_client.is_public_address", lambda _: are_public.pop(0))
    assert "private network" in FeedSource(f"{feed.root}/moved", "s").read(None, 9).error
    assert [path for path, _ in feed.received] == ["/moved"]


def test_a_redirect_from_https_to_http_is_not_followed(monkeypatch):
    pytest.importorskip("feedparser")
    urls = []

    def redirect(_method, url, *_, **__):
        urls.append(url)
        return HttpResponse(302, {"location": "http://127.0.0.1/feed"}, b"", False)

    monkeypatch.setattr("turnwise.app.monitor.sources.feed_source.send_request", redirect)
    assert FeedSource("https://example.com", "s").read(None, 9).error == "the feed redirects from https to http"
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
    batch = FeedSource(f"{feed.root}{path}", "s").read(None, 9)
    assert batch.texts == ()
    assert error in batch.error


def test_a_feed_that_is_too_large_is_rejected(feed, monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.sources.feed_source.MAX_FEED_BYTES", 100)
    batch = FeedSource(f"{feed.root}/rss", "s").read(None, 9)
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


# HTTP requests


@pytest.fixture
def push():
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", "token-1")
    yield source
    source.close()


def post(port, body, token="token-1", path="/v1/monitor/texts", kind="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, {"Authorization": f"Bearer {token}", "Content-Type": kind})
    response = connection.getresponse()
    result = response.status, json.loads(response.read())
    connection.close()
    return result


def test_a_request_is_answered_when_its_texts_are_stored(push):
    answers = []
    body = json.dumps({"texts": [{"id": "a", "text": "x", "time": 5}, {"id": "b", "text": "y"}]})
    thread = threading.Thread(target=lambda: answers.append(post(push.port, body)))
    thread.start()
    while not (batch := push.read(None, 1)).texts:
        pass
    assert [(text.id, text.time) for text in batch.texts] == [("s:a", 5.0), ("s:b", 99.0)]
    assert push.read(None, 1).texts == batch.texts, "they are returned until they are stored"
    assert answers == []
    push.confirm(batch.position)
    thread.join()
    assert answers == [(200, {"accepted": 2})]
    assert push.read(None, 1).texts == ()


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        ({"token": "wrong"}, 401, "token"),
        ({"path": "/v1/other"}, 404, "Post to"),
        ({"kind": "text/plain"}, 415, "application/json"),
        ({"body": "{"}, 400, "not readable JSON"),
        ({"body": "[]"}, 400, "should be an object"),
        ({"body": '{"texts": [{"text": "x"}]}'}, 400, "needs a 'text' and an 'id'"),
        ({"body": '{"texts": [{"text": "x", "id": "a", "time": "no"}]}'}, 400, "texts[0] needs"),
    ],
)
def test_wrong_requests_are_explained(push, values, status, message):
    code, answer = post(push.port, **{"body": '{"texts": [{"text": "x", "id": "a"}]}', **values})
    assert code == status
    assert message in answer["error"]["message"]
    assert push.read(None, 1).texts == ()


def exchange(port, request):
    """The answer to raw bytes, until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize(
    ("host", "length", "status"),
    [("127.0.0.1", "9" * 5000, 413), ("127.0.0.1", "\u0665".encode().decode("latin-1"), 411), ("[", "5", 403)],
)
def test_wrong_headers_are_answered_and_print_nothing(capfd, host, length, status):
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", None)
    head = f"POST /v1/monitor/texts HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    answer = exchange(source.port, f"{head}Content-Length: {length}\r\n\r\n".encode("latin-1"))
    source.close()
    assert answer.split()[1] == str(status).encode()
    assert capfd.readouterr().err == ""


def test_a_failure_of_a_connection_prints_nothing(push, capfd):
    push._server.handle_error(None, ("192.0.2.1", 1))
    assert capfd.readouterr().err == ""


def test_a_request_that_trickles_ends_at_the_time_limit(monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.sources.push_source.REQUEST_SECONDS", 0.2)
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", None)
    with socket.create_connection(("127.0.0.1", source.port), timeout=20) as connection:
        for _ in range(500):  # ten seconds: fifty times the limit
            if select.select([connection], [], [], 0.02)[0]:
                break
            connection.sendall(b"x")
        else:
            pytest.fail("the connection is still open")
    source.close()


def test_connections_beyond_the_limit_are_closed_and_free_ones_are_used_again(monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.sources.push_source.MAX_CONNECTIONS", 2)
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", None)
    waiting = [socket.create_connection(("127.0.0.1", source.port), timeout=20) for _ in range(2)]
    assert exchange(source.port, b"") == b"", "closed without an answer"
    for connection in waiting:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(9) == b"HTTP/1.0 "
        connection.close()
    while source._server._free_connections._value < 2:
        pass
    assert post(source.port, "{}")[0] == 400
    source.close()


def test_an_address_that_others_reach_needs_a_token(push):
    with pytest.raises(InvalidParameter, match="not encrypted"):
        PushSource("http://0.0.0.0:8090", RECORDS, "s", None)
    with pytest.raises(InvalidParameter, match="http://HOST:PORT"):
        PushSource("http://127.0.0.1", RECORDS, "s", None)
    with pytest.raises(UserError, match="Could not listen"):
        PushSource(f"http://127.0.0.1:{push.port}", RECORDS, "s", None)


def test_without_a_token_only_requests_to_this_machine_are_accepted():
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", None)
    connection = http.client.HTTPConnection("127.0.0.1", source.port, timeout=20)
    connection.request("POST", "/v1/monitor/texts", "{}", {"Host": "evil.example", "Content-Type": "application/json"})
    assert connection.getresponse().status == 403
    connection.close()
    assert post(source.port, "{}")[0] == 400
    source.close()
