"""Search in the files of the library of data sets, and what their check says."""

import json

import pytest
from dataset_samples import dialogue, finding, jsonl, questions, wait_for_check
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.app.datasets import dataset_library, row_file, row_search
from turnwise.app.datasets.dataset_library import FolderDatasetLibrary
from turnwise.app.datasets.row_file import RowFile, RowWriter
from turnwise.core.errors import InvalidData, NotFound
from turnwise.data.check import check_data

EXAMPLE = "example_dialogues.jsonl"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class TestSearch:
    def test_texts_are_found_in_all_parts_but_not_in_the_names_of_the_format(self, library, add):
        tool = {"type": "function", "function": {"name": "kettle", "parameters": {}}}
        rows = [
            dialogue("GREEN tea"), dialogue("Other", 'She said "green\ntea"'), dialogue("x", meta={"topic": "Straße"}),
            dialogue("y", tools=[tool]),
        ]  # fmt: skip
        add("a.jsonl", jsonl(rows) + b"{oops\n")
        wait_for_check(library, "a.jsonl")

        def indexes(text):
            return [row.index for row in library.search("a.jsonl", text, 0, 10).rows]

        assert indexes("green") == [0, 1]
        assert indexes('"Green\nTEA"') == [1]
        assert indexes("STRASSE") == [2]
        assert indexes("kettle") == [3]
        assert indexes("not valid json") == [4]
        assert indexes("tool_calls") == indexes("line") == []

    @settings(max_examples=25, deadline=None)
    @given(
        texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=8),
        data=st.data(),
    )
    def test_a_search_finds_exactly_the_rows_with_the_text(self, tmp_path_factory, texts, data):
        wanted = data.draw(st.sampled_from(texts))
        start = data.draw(st.integers(0, len(wanted) - 1))
        wanted = wanted[start : start + data.draw(st.integers(1, 5))]
        folder = tmp_path_factory.mktemp("search")
        with RowWriter(folder) as writer:
            for index, text in enumerate(texts):
                writer.add(index + 1, json.dumps({"text": text}, ensure_ascii=False))
        with RowFile(folder) as file:
            page = dataset_library.search_rows(file, wanted, 0, 100, seconds=10, is_complete=True)
        expected = [index for index, text in enumerate(texts) if wanted.casefold() in text.casefold()]
        assert [row.index for row in page.rows] == expected

    def test_large_rows_shorten_the_pages_of_a_search_and_of_a_finding(self, library, add, monkeypatch):
        monkeypatch.setattr(row_file, "MAX_PAGE_BYTES", 1000)
        add("a.jsonl", jsonl(dialogue("tea " + "x" * 300) for _ in range(7)))
        wait_for_check(library, "a.jsonl")
        lists = (
            lambda offset: library.search("a.jsonl", "tea", offset, 100),
            lambda offset: library.rows_of_finding("a.jsonl", "exact duplicates", offset, 100),
        )
        for read in lists:
            indexes, offset = [], 0
            while offset is not None:
                page = read(offset)
                assert 1 <= len(page.rows) <= 3
                indexes += [row.index for row in page.rows]
                offset = page.next_offset
            assert indexes == list(range(7))

    def test_a_search_looks_at_the_clock_also_within_few_large_rows(self, tmp_path, monkeypatch):
        monkeypatch.setattr(row_search, "CLOCK_BYTES", 100)
        with RowWriter(tmp_path) as writer:
            for index in range(20):
                writer.add(index + 1, json.dumps({"text": "x" * 200}))
        with RowFile(tmp_path) as file:
            page = dataset_library.search_rows(file, "tea", 0, 100, seconds=0, is_complete=True)
        assert page.is_stopped_early
        assert page.next_offset < 20

    @pytest.mark.timeout(20)
    def test_a_search_of_damaged_rows_ends(self, tmp_path):
        with RowWriter(tmp_path) as writer:
            for index in range(3):
                writer.add(index + 1, json.dumps({"text": "tea"}))
        rows = tmp_path / row_file.ROWS_NAME
        rows.write_bytes(rows.read_bytes()[:-5])
        with RowFile(tmp_path) as file:
            page = dataset_library.search_rows(file, "tea", 0, 100, seconds=10, is_complete=True)
        assert [row.index for row in page.rows] == [0, 1]

    def test_following_the_pages_of_a_search_finds_all(self, library, add):
        add("a.jsonl", jsonl(dialogue("tea" if index % 3 else "no") for index in range(50)))
        wait_for_check(library, "a.jsonl")
        rows, offset = [], 0
        while offset is not None:
            page = library.search("a.jsonl", "tea", offset, 7)
            rows += page.rows
            offset = page.next_offset
        assert [row.index for row in rows] == [index for index in range(50) if index % 3]

    def test_a_search_that_takes_long_stops_and_says_where_it_goes_on(self, folder, add, library):
        add("a.jsonl", jsonl(dialogue("no") for _ in range(1000)) + jsonl([dialogue("tea")]))
        wait_for_check(library, "a.jsonl")
        with FolderDatasetLibrary(folder, search_seconds=0) as hasty:
            page = hasty.search("a.jsonl", "tea", 0, 10)
            assert (page.rows, page.is_stopped_early) == ((), True)
            while page.next_offset is not None:
                assert page.is_stopped_early
                page = hasty.search("a.jsonl", "tea", page.next_offset, 10)
        assert [row.index for row in page.rows] == [1000]


class TestCheck:
    def test_the_report_is_that_of_the_command_and_names_rows(self, library, add):
        tea = dialogue("Is there tea?")
        rows = [tea, dialogue("Hi", "Hello"), tea, dialogue("Hi", "hello!"), dialogue("Who?", "[your name]"), tea]
        add("a.jsonl", b"\n" + jsonl(rows) + b"{oops\n")
        check = wait_for_check(library, "a.jsonl")
        expected = check_data([library.path("a.jsonl")]).as_dict()
        assert (check.state, check.num_rows, check.share) == ("complete", 7, 1.0)
        assert {**check.report, "files": 0, "findings": 0} == {
            **json.loads(json.dumps(expected)), "files": 0, "findings": 0,
        }  # fmt: skip
        counts = {entry["kind"]: (entry["severity"], entry["count"]) for entry in check.report["findings"]}
        assert counts == {entry["kind"]: (entry["severity"], entry["count"]) for entry in expected["findings"]}
        assert finding(check, "exact duplicates")["rows"] == [0, 2, 5]
        assert finding(check, "near duplicates")["rows"] == [1, 3]
        assert finding(check, "placeholders")["rows"] == [4]
        assert finding(check, "bad rows")["rows"] == [6]

    def test_the_rows_of_a_finding_are_paged(self, library, add):
        add("a.jsonl", jsonl([dialogue("x"), *(dialogue("same") for _ in range(10))]))
        wait_for_check(library, "a.jsonl")
        first = library.rows_of_finding("a.jsonl", "exact duplicates", 0, 6)
        second = library.rows_of_finding("a.jsonl", "exact duplicates", first.next_offset, 6)
        assert [row.index for row in (*first.rows, *second.rows)] == list(range(1, 11))
        assert (first.num_rows, second.next_offset) == (10, None)
        with pytest.raises(NotFound, match="no finding"):
            library.rows_of_finding("a.jsonl", "leaks", 0, 6)

    def test_the_result_outlives_the_server_and_follows_the_content(self, folder, library, add, monkeypatch):
        add("a.jsonl", jsonl([dialogue("Hi")]))
        wait_for_check(library, "a.jsonl")
        with monkeypatch.context() as patch:
            patch.setattr("turnwise.app.datasets.scan_threads.scan_dataset", None)
            with FolderDatasetLibrary(folder) as reopened:
                assert reopened.check("a.jsonl").state == "complete"
        (folder / "a.jsonl").write_bytes(jsonl([dialogue("Hi"), dialogue("Ho")]))
        assert wait_for_check(library, "a.jsonl").num_rows == 2
        assert questions(library.page("a.jsonl", 0, 10)) == ["Hi", "Ho"]
        assert len(list((folder / ".index" / "a.jsonl").iterdir())) == 1, "the earlier content is gone"

    def test_a_file_that_breaks_in_the_middle_fails_with_a_sentence(self, library, folder, monkeypatch):
        folder.mkdir(exist_ok=True)
        (folder / "a.parquet").write_bytes(b"PAR1 damaged")
        check = wait_for_check(library, "a.parquet")
        assert check.state == "failed"
        assert check.error.startswith("a.parquet: ")
        with pytest.raises(InvalidData, match=r"^a.parquet: "):
            library.page("a.parquet", 0, 10)
