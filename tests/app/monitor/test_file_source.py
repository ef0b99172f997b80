"""A followed file: every line once, in order, also after a restart, rotation, truncation and a half-written line."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_batches import RECORDS, append, contents, read_all

from turnwise.app.monitor.sources import file_lines
from turnwise.app.monitor.sources.file_source import FileSource
from turnwise.core.errors import InvalidData


@pytest.fixture
def path(tmp_path):
    return tmp_path / "posts.log"


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
