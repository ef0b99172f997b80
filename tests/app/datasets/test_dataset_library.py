"""The library of data sets: files are added, shown page by page, searched, checked and deleted."""

import gzip
import json
import threading

import pytest
from dataset_samples import dialogue, jsonl, questions, wait_for_check
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.app.datasets import dataset_library, row_file, scan
from turnwise.app.datasets.dataset_library import FolderDatasetLibrary
from turnwise.app.datasets.row_file import RowFile, RowWriter
from turnwise.core.errors import Forbidden, InvalidData, InvalidParameter, NotFound, SaveFailed

EXAMPLE = "example_dialogues.jsonl"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_the_bundled_example_is_listed_and_cannot_be_deleted(library):
    (dataset,) = library.datasets()
    assert (dataset.name, dataset.is_bundled) == (EXAMPLE, True)
    assert library.path(EXAMPLE).is_file()
    check = wait_for_check(library, EXAMPLE)
    assert check.report["verdict"] == "Usable: 12 of 12 rows can be trained on, and there are no warnings."
    with pytest.raises(Forbidden):
        library.delete(EXAMPLE)


def test_an_added_file_is_listed_first_and_is_the_same_file(library, add):
    content = jsonl([dialogue("Hi")])
    dataset = add("chats.jsonl", content)
    assert (dataset.name, dataset.num_bytes, dataset.is_bundled) == ("chats.jsonl", len(content), False)
    assert [entry.name for entry in library.datasets()] == ["chats.jsonl", EXAMPLE]
    assert library.path("chats.jsonl").read_bytes() == content


def test_a_file_that_a_person_put_into_the_folder_belongs_to_it(library, folder):
    folder.mkdir(exist_ok=True)
    (folder / "mine.csv").write_text("question,answer\nTea?,Yes.\n", encoding="utf-8")
    assert questions(library.page("mine.csv", 0, 10)) == ["Tea?"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", b"", "a.jsonl: the file is empty."),
        ("a.jsonl", b'{"colour": 3}\n', "a.jsonl: No known data format fits: its columns or keys are colour."),
        ("a.jsonl", b'{"messages": 3}\n{oops\n', "a.jsonl, line 1: 'messages' is not a list"),
        ("a.jsonl.gz", b"\x1f\x8b damaged", "a.jsonl.gz: its compression is damaged"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "a.png: it is a PNG file"),
    ],
)
def test_a_file_without_readable_rows_is_refused_with_the_reason(library, add, folder, name, content, sentence):
    with pytest.raises(InvalidData) as refused:
        add(name, content)
    assert sentence in str(refused.value)
    assert str(folder) not in str(refused.value)
    assert len(library.datasets()) == 1
    assert [path.name for path in folder.iterdir() if path.name != ".index"] == []


def test_a_name_is_taken_only_once_also_if_the_case_differs(add):
    add("Chats.jsonl", jsonl([dialogue("Hi")]))
    for name in ("Chats.jsonl", "chats.JSONL", EXAMPLE):
        with pytest.raises(InvalidParameter, match="already"):
            add(name, jsonl([dialogue("Other")]))


def test_a_full_disk_changes_nothing(library, add, monkeypatch):
    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_library.shutil, "copyfile", fail)
    with pytest.raises(SaveFailed, match="No space left"):
        add("a.jsonl", jsonl([dialogue("Hi")]))
    assert len(library.datasets()) == 1


def test_a_file_that_another_server_adds_at_the_same_time_is_not_overwritten(library, folder, add, monkeypatch):
    check = dataset_library.check_dataset_name
    checks = []

    def check_before_the_other_server_adds(name, taken):
        checked = check(name, taken)
        checks.append(name)
        if len(checks) == 2:  # the last one before the file gets its name
            (folder / name).write_bytes(b"first")
        return checked

    monkeypatch.setattr(dataset_library, "check_dataset_name", check_before_the_other_server_adds)
    with pytest.raises(InvalidParameter, match=r"There is a data set 'a\.jsonl' already"):
        add("a.jsonl", jsonl([dialogue("Hi")]))
    assert [path.name for path in folder.iterdir()] == ["a.jsonl"]
    assert (folder / "a.jsonl").read_bytes() == b"first"


class TestPages:
    @settings(max_examples=25, deadline=None)
    @given(num_rows=st.integers(1, 30), limit=st.integers(1, 12), bad=st.sets(st.integers(0, 29)))
    def test_following_the_pages_visits_every_row_once_in_order(self, tmp_path_factory, num_rows, limit, bad):
        folder = tmp_path_factory.mktemp("pages")
        lines = [b"{oops\n" if index in bad else jsonl([dialogue(f"Question {index}")]) for index in range(num_rows)]
        (folder / "a.jsonl").write_bytes(jsonl([dialogue("First")]) + b"".join(lines))
        with FolderDatasetLibrary(folder) as library:
            wait_for_check(library, "a.jsonl")
            rows, offset = [], 0
            while offset is not None:
                page = library.page("a.jsonl", offset, limit)
                assert 0 < len(page.rows) <= limit
                assert (page.num_rows, page.is_complete) == (num_rows + 1, True)
                rows += page.rows
                offset = page.next_offset
        assert [row.index for row in rows] == list(range(num_rows + 1))
        assert [row.line for row in rows] == list(range(1, num_rows + 2))
        assert {row.index - 1 for row in rows if row.problem} == {index for index in bad if index < num_rows}

    @settings(max_examples=40, deadline=None)
    @given(
        sizes=st.lists(st.integers(1, 60), min_size=1, max_size=20), start=st.integers(0, 25), limit=st.integers(1, 25)
    )
    def test_a_page_has_whole_rows_and_few_bytes(self, tmp_path_factory, sizes, start, limit):
        folder = tmp_path_factory.mktemp("rows")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(row_file, "MAX_PAGE_BYTES", 150)
            with RowWriter(folder) as writer:
                for index, size in enumerate(sizes):
                    writer.add(index + 1, json.dumps({"text": "x" * size}))
            with RowFile(folder) as file:
                rows = file.read(start, limit)
        expected = range(start, min(start + limit, len(sizes)))
        assert [row.index for row in rows] == list(expected)[: len(rows)]
        assert [len(row.content["text"]) for row in rows] == sizes[start : start + len(rows)]
        assert bool(rows) == bool(expected)

    def test_an_offset_after_the_end_is_an_empty_page(self, library):
        wait_for_check(library, EXAMPLE)
        page = library.page(EXAMPLE, 500, 10)
        assert (page.rows, page.num_rows, page.next_offset) == ((), 12, None)

    def test_a_large_row_is_named_and_not_shown(self, library, add, monkeypatch):
        monkeypatch.setattr(row_file, "MAX_ROW_BYTES", 500)
        add("a.jsonl", jsonl([dialogue("x" * 600), dialogue("Hi")]))
        page = library.page("a.jsonl", 0, 10)
        assert page.rows[0].problem.endswith("rows of up to 500 bytes are shown.")
        assert (page.rows[0].line, page.rows[0].content) == (1, {})
        assert page.rows[1].content["messages"][0]["content"] == "Hi"
        assert [row.index for row in library.search("a.jsonl", "hi", 0, 10).rows] == [1]

    def test_all_formats_and_parts_of_a_dialogue_are_shown(self, library, add):
        call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"tea": 1}'}}
        messages = [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        worse = [messages[0], {"role": "assistant", "content": "No."}]
        add(
            "a.jsonl.gz",
            gzip.compress(jsonl([{"messages": messages, "rejected": worse, "rating": True, "topic": "x"}])),
        )
        (row,) = library.page("a.jsonl.gz", 0, 10).rows
        assert row.content == {"messages": messages, "rejected": worse, "rating": True, "meta": {"topic": "x"}}
        add("notes.txt", b"A text about tea. It has two sentences.\n")
        (row,) = library.page("notes.txt", 0, 10).rows
        assert row.content["text"].startswith("A text about tea.")

    def test_the_first_rows_are_shown_while_the_file_is_read(self, library, add, monkeypatch):
        monkeypatch.setattr(dataset_library, "WAIT_SECONDS", 0.2)
        gate = threading.Event()
        publish = scan._publish
        monkeypatch.setattr(scan, "_publish", lambda *values: (publish(*values), gate.wait(20)))
        add("a.jsonl", jsonl(dialogue(f"Question {index}") for index in range(100)))
        page = library.page("a.jsonl", 0, 5)
        assert (page.is_complete, page.next_offset) == (False, len(page.rows))
        assert library.check("a.jsonl").state == "running"
        gate.set()
        assert wait_for_check(library, "a.jsonl").num_rows == 100
        assert len(library.page("a.jsonl", 0, 5).rows) == 5


class TestDelete:
    def test_nothing_of_a_deleted_data_set_is_left(self, library, add, folder):
        add("a.jsonl", jsonl([dialogue("secret")]))
        wait_for_check(library, "a.jsonl")
        library.delete("a.jsonl")
        assert not [path for path in folder.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
        for call in (library.path, library.check, library.delete):
            with pytest.raises(NotFound, match="There is no data set"):
                call("a.jsonl")

    def test_a_data_set_is_deleted_while_it_is_checked(self, library, add, folder):
        add("a.jsonl", jsonl(dialogue(f"secret {index}") for index in range(5000)))
        assert library.check("a.jsonl").state == "running"
        library.delete("a.jsonl")
        library._scans.close()
        assert not (folder / ".index" / "a.jsonl").exists()

    def test_what_a_killed_process_left_is_deleted_at_the_next_start(self, folder, library, add):
        add("a.jsonl", jsonl([dialogue("Hi")]))
        wait_for_check(library, "a.jsonl")
        (folder / "a.jsonl").unlink()
        (folder / ".upload.x.part").mkdir()
        with FolderDatasetLibrary(folder):
            assert not (folder / ".index" / "a.jsonl").exists()
            assert (folder / ".upload.x.part").exists(), "another process may be writing it"


@pytest.mark.parametrize("name", ["../a.jsonl", "/etc/passwd", "", ".index", ".", "a\0b", "datasets/a.jsonl"])
def test_only_names_of_the_list_are_paths(library, name):
    with pytest.raises(NotFound):
        library.path(name)
