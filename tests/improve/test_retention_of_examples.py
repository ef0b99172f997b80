"""What cycles have copied of answers goes with the answers, and the rest stays."""

import shutil
import time

import pytest

from turnwise.core.directory_lock import lock_directory
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.improve.cycle_folder import EXAMPLES_FILE, CycleFolders, last_training
from turnwise.improve.example_file import read_examples, write_examples
from turnwise.improve.retention import delete_old_examples
from turnwise.improve.training_examples import training_examples
from turnwise.store import open_store

MODEL, FULL = "shop", {"model": "shop", "consent": "full", "finish": "stop"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with three corrected answers, each in a conversation of its own."""
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    opened = open_store("sqlite:///:memory:")
    for number in range(3):
        conversation = opened.create(title=str(number), model=MODEL).id
        (asked,) = opened.append(conversation, [Message("user", f"Secret question {number}")], FULL)
        (answer,) = opened.append(conversation, [Message("assistant", "I do not know.")], FULL, parent_id=asked)
        opened.feedback.add(AnswerReference("message", answer), NewFeedback(correction=f"Secret answer {number}"))
    yield opened
    opened.close()


@pytest.fixture
def make_cycle(store):
    """`make_cycle()`: a cycle with examples of all answers, its report and its training data."""

    def make(outcome="promoted"):
        journal = CycleFolders(MODEL).create(model=MODEL, started=time.time())
        write_examples(journal.folder / EXAMPLES_FILE, training_examples(store.collected_answers.answers()))
        for name in ("report", "model-data"):
            (journal.folder / name).mkdir()
            (journal.folder / name / "text").write_text("Secret answer 0", encoding="utf-8")
        if outcome:
            journal.complete(outcome, "A test.", version=2)
            shutil.rmtree(journal.folder / "model-data")
        return journal

    return make


def delete_conversations(store, count):
    for number in range(count):
        store.delete(next(entry.id for entry in store.list() if entry.title == str(number)))


def texts(folder):
    return "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file())


def test_examples_of_deleted_answers_are_deleted_and_the_others_stay(store, make_cycle):
    journal = make_cycle()
    before = {example.id: example for example in read_examples(journal.folder / EXAMPLES_FILE)}
    delete_conversations(store, 1)
    assert delete_old_examples(store, time.time()) == {"cycles of training": 1}
    remaining = read_examples(journal.folder / EXAMPLES_FILE)
    assert [before[example.id] for example in remaining] == remaining
    assert [example.dialogue.messages[-1].content for example in remaining] == ["Secret answer 1", "Secret answer 2"]
    assert "answer 0" not in texts(journal.folder)
    assert delete_old_examples(store, time.time()) == {"cycles of training": 0}


def test_nothing_is_left_of_a_cycle_whose_answers_are_all_gone_but_its_journal_and_what_it_counts_for(
    store, make_cycle
):
    journal = make_cycle()
    delete_conversations(store, 3)
    delete_old_examples(store, time.time())
    assert "Secret" not in texts(journal.folder)
    (reopened,) = CycleFolders(MODEL).journals()
    assert (reopened["outcome"], last_training([reopened], None)) == ("promoted", journal["started"])


def test_an_interrupted_cycle_is_given_up(store, make_cycle):
    journal = make_cycle(outcome=None)
    delete_conversations(store, 1)
    delete_old_examples(store, time.time())
    assert [path.name for path in journal.folder.iterdir()] == ["cycle.json"]
    (reopened,) = CycleFolders(MODEL).journals()
    assert (reopened["outcome"], reopened["reason"]) == (
        "abandoned", "Answers that it learned from were deleted after their time of retention.",
    )  # fmt: skip


def test_answers_that_are_not_old_enough_stay(store, make_cycle):
    """As with a store that is not the one of the cycles."""
    journal = make_cycle()
    delete_conversations(store, 3)
    assert delete_old_examples(store, time.time() - 3600) == {"cycles of training": 0}
    assert len(read_examples(journal.folder / EXAMPLES_FILE)) == 3


def test_a_running_cycle_is_left_alone(store, make_cycle, caplog):
    journal = make_cycle()
    delete_conversations(store, 3)
    with lock_directory(CycleFolders(MODEL).root):
        assert delete_old_examples(store, time.time()) == {"cycles of training": 0}
    assert "deleted next time" in caplog.text
    assert len(read_examples(journal.folder / EXAMPLES_FILE)) == 3
