"""The progress journal: a run that was stopped at any point is resumed; other settings are rejected."""

import pytest

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.core.ordered_results import iterate_sync
from turnwise.data.sources import read_source
from turnwise.synthesis.progress_journal import ProgressJournal, finish_run, journal_path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "simulated.jsonl"


def resume(self_chat, out, count, **options):
    """Simulate the missing ones of the first `count` dialogues; returns their numbers and the closed journal."""
    journal = ProgressJournal(journal_path(out), self_chat.settings, **options)
    numbers = []
    for dialogue in iterate_sync(self_chat.simulate_all(range(journal.num_dialogues, count), 3)):
        journal.add(dialogue)
        numbers.append(dialogue.number)
    journal.close()
    return numbers, journal


def test_a_resumed_run_writes_the_same_file_as_an_uninterrupted_one(seeded_self_chat, tmp_path):
    uninterrupted, resumed = tmp_path / "uninterrupted.jsonl", tmp_path / "resumed.jsonl"
    finish_run(resume(seeded_self_chat(), uninterrupted, 6)[1], uninterrupted, 6)
    resume(seeded_self_chat(), resumed, 2)
    numbers, journal = resume(seeded_self_chat(), resumed, 6)
    assert numbers == [2, 3, 4, 5]
    finish_run(journal, resumed, 6)
    assert resumed.read_text() == uninterrupted.read_text()
    assert not journal_path(resumed).exists()


@pytest.mark.parametrize("num_lost_bytes", [1, 20, 200])
def test_a_dialogue_whose_line_is_incomplete_is_simulated_again(seeded_self_chat, out, num_lost_bytes):
    _, journal = resume(seeded_self_chat(), out, 4)
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:-num_lost_bytes])
    numbers, _ = resume(seeded_self_chat(), out, 4)
    assert numbers[-1] == 3
    assert journal.path.read_bytes() == content


def test_a_journal_with_an_incomplete_header_starts_from_the_beginning(seeded_self_chat, out):
    journal_path(out).write_bytes(b'{"sett')
    assert resume(seeded_self_chat(), out, 2)[0] == [0, 1]


def test_other_settings_are_rejected_by_name(seeded_self_chat, out):
    resume(seeded_self_chat(seed=1), out, 2)
    with pytest.raises(InvalidParameter, match=r"other settings \(exchanges, seed\)"):
        resume(seeded_self_chat(seed=2, exchanges=(1, 2)), out, 2)
    assert resume(seeded_self_chat(seed=2), out, 2, restart=True)[0] == [0, 1]


@pytest.mark.parametrize("content", ["no journal\n", "no journal", '{"settings": {}}\n{"dialogue": 1}\n', "[]\n"])
def test_a_damaged_or_foreign_file_is_rejected_and_not_changed(seeded_self_chat, out, content):
    journal_path(out).write_text(content)
    with pytest.raises(UserError, match="--restart"):
        resume(seeded_self_chat(), out, 2)
    assert journal_path(out).read_text() == content


def test_dialogues_without_a_reply_are_counted_by_reason(seeded_self_chat, out):
    def script(request):
        return [""] if request.messages[-1].content == "hi" else ["Fine."]

    self_chat = seeded_self_chat(exchanges=(2, 2), script=script)
    summary = finish_run(resume(self_chat, out, 20)[1], out, 20)
    num_written = len(list(read_source(out)))
    assert 0 < num_written < 20
    assert f"{num_written} dialogues\n" in summary
    num_dropped = 20 - num_written
    assert f"{num_dropped} dialogues without a reply were dropped: a message was empty ({num_dropped})" in summary


def test_a_run_without_any_reply_is_an_error(seeded_self_chat, out):
    with pytest.raises(UserError, match="2 dialogues without a reply"):
        finish_run(resume(seeded_self_chat(script=[""]), out, 2)[1], out, 2)
    assert not out.exists()


def test_messages_and_metadata_survive_writing_and_reading(seeded_self_chat, out):
    _, journal = resume(seeded_self_chat(), out, 3)
    simulated = [dialogue.conversation for dialogue in iterate_sync(seeded_self_chat().simulate_all(range(3), 1))]
    finish_run(journal, out, 3)
    assert list(read_source(out)) == simulated
