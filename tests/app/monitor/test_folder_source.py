"""A folder: files in the order of their names, added lines, and files that are renamed, deleted or not readable."""

import os

import pytest
from source_batches import RECORDS, append, contents, read_all

from turnwise.app.monitor.sources.file_source import FileSource
from turnwise.app.monitor.sources.folder_source import FolderSource
from turnwise.core.errors import InvalidData


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
