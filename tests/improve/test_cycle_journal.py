"""A step that is complete is never run again, also after a crash."""

import pytest

from turnwise.core.errors import InvalidData
from turnwise.improve.cycle_folder import CycleFolders
from turnwise.improve.journal import JOURNAL_FILE, Journal


def test_a_complete_step_returns_its_stored_result(tmp_path):
    calls = []
    journal = Journal.create(tmp_path, number=1)
    for _ in range(2):
        assert journal.run("count", lambda: calls.append(1) or {"answers": 3}) == {"answers": 3}
    assert Journal.open(tmp_path).run("count", lambda: calls.append(1)) == {"answers": 3}
    assert calls == [1]


def test_a_step_that_fails_is_run_again(tmp_path):
    journal = Journal.create(tmp_path, number=1)
    with pytest.raises(ZeroDivisionError):
        journal.run("divide", lambda: 1 // 0)
    assert Journal.open(tmp_path).run("divide", lambda: 7) == 7


def test_a_damaged_journal_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / JOURNAL_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(InvalidData, match=JOURNAL_FILE):
        Journal.open(tmp_path)


def test_cycles_are_numbered_and_listed_in_order(tmp_path):
    folders = CycleFolders("shop", tmp_path)
    assert folders.last() is None
    for _ in range(3):
        folders.create(model="shop")
    assert [journal["number"] for journal in folders.journals()] == [1, 2, 3]


def test_a_model_name_with_slashes_stays_below_the_folder(tmp_path):
    assert CycleFolders("../../etc/x", tmp_path).root.parent == tmp_path


def test_the_ten_thousandth_cycle_is_the_last(tmp_path):
    folders = CycleFolders("shop", tmp_path)
    for number in (9_999, 10_000):
        Journal.create(folders.root / "cycles" / f"{number:04}", number=number)
    assert folders.create(model="shop")["number"] == 10_001


def test_only_the_user_can_read_the_files_of_cycles(tmp_path):
    folders = CycleFolders("shop", tmp_path / "home" / "improve")
    folders.create_root()
    assert folders.root.stat().st_mode & 0o077 == 0


def test_the_last_step_and_the_outcome_are_one_write(tmp_path, monkeypatch):
    journal = Journal.create(tmp_path, number=1)
    writes = []
    monkeypatch.setattr("turnwise.improve.journal.atomic_write", lambda *content: writes.append(content))
    journal.complete("promoted", "It improved.", last_step={"decide": {"version": 2}}, version=2)
    assert len(writes) == 1
    assert (journal.is_complete, journal.steps, journal["version"]) == (True, ["decide"], 2)


def test_models_with_similar_names_have_folders_of_their_own(tmp_path):
    names = ["a/b", "a_b", "A_b", "a%2fb"]
    for name in names:
        CycleFolders(name, tmp_path).create(model=name)
    assert [[journal["model"] for journal in CycleFolders(name, tmp_path).journals()] for name in names] == [
        [name] for name in names
    ]
