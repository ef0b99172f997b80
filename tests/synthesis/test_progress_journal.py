"""A run's own file: stopped anywhere, it goes on; other settings are refused."""

import pytest

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.data.sources import read_source
from turnwise.synthesis.ordered_tasks import iterate_sync
from turnwise.synthesis.progress_journal import ProgressJournal, finish, journal_path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made.jsonl"


def go_on(chat, out, until, **how):
    """Make what is missing of the first `until` dialogues; the numbers that were made."""
    work = ProgressJournal(journal_path(out), chat.request, **how)
    made = []
    for talk in iterate_sync(chat.simulate_all(range(work.done, until), 3)):
        work.add(talk)
        made.append(talk.number)
    work.close()
    return made, work


def test_what_comes_out_is_the_same_with_and_without_a_stop(dice, tmp_path):
    whole, parted = tmp_path / "whole.jsonl", tmp_path / "parted.jsonl"
    finish(go_on(dice(), whole, 6)[1], whole, 6)
    go_on(dice(), parted, 2)
    made, work = go_on(dice(), parted, 6)
    assert made == [2, 3, 4, 5]
    finish(work, parted, 6)
    assert parted.read_text() == whole.read_text()
    assert not journal_path(parted).exists()


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_killed_in_the_middle_of_a_line_it_makes_that_dialogue_again(dice, out, cut):
    _, work = go_on(dice(), out, 4)
    whole = work.path.read_bytes()
    work.path.write_bytes(whole[:-cut])
    made, _ = go_on(dice(), out, 4)
    assert made[-1] == 3
    assert work.path.read_bytes() == whole


def test_killed_before_it_wrote_anything_it_begins(dice, out):
    journal_path(out).write_bytes(b'{"requ')
    assert go_on(dice(), out, 2)[0] == [0, 1]


def test_other_settings_are_refused_by_name(dice, out):
    go_on(dice(seed=1), out, 2)
    with pytest.raises(InvalidParameter, match=r"other settings \(seed, turns\)"):
        go_on(dice(seed=2, exchanges=(1, 2)), out, 2)
    assert go_on(dice(seed=2), out, 2, restart=True)[0] == [0, 1]


@pytest.mark.parametrize("found", ["not ours\n", "not ours", '{"request": {}}\n{"talk": 1}\n', "[]\n"])
def test_a_file_that_is_damaged_or_not_ours_is_refused_and_stays(dice, out, found):
    journal_path(out).write_text(found)
    with pytest.raises(UserError, match="--restart"):
        go_on(dice(), out, 2)
    assert journal_path(out).read_text() == found


def test_what_came_to_nothing_is_counted(dice, out):
    silent = dice(exchanges=(2, 2), script=lambda turn: [""] if turn.messages[-1].content == "hi" else ["Fine."])
    told = finish(go_on(silent, out, 20)[1], out, 20)
    kept = len(list(read_source(out)))
    assert 0 < kept < 20
    assert f"{kept} dialogues" in told
    assert f"{20 - kept} came to nothing (a turn was empty ({20 - kept}))" in told


def test_nothing_at_all_is_an_error(dice, out):
    with pytest.raises(UserError, match="2 came to nothing"):
        finish(go_on(dice(script=[""]), out, 2)[1], out, 2)
    assert not out.exists()


def test_marks_survive_being_written_and_read(dice, out):
    _, work = go_on(dice(), out, 3)
    before = [talk.conversation for talk in iterate_sync(dice().simulate_all(range(3), 1))]
    finish(work, out, 3)
    assert list(read_source(out)) == before
