"""Rated answers as data of trainings: what each objective learns from, and erasure of the people behind it."""

import json

import pytest

from turnwise.app.erasers import runs as eraser
from turnwise.core.data_subjects import DataSubject
from turnwise.core.directory_lock import lock_directory
from turnwise.core.errors import InvalidData, Unavailable
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.core.settings import Settings
from turnwise.improve.rated_answers import rated_answers
from turnwise.store import open_store


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


def rate(store, question, answer, **feedback):
    conversation = store.create(title="", model="shop")
    store.append(conversation.id, [Message("user", question)], {"consent": "full"})
    meta = {"finish": "stop", "model": "shop", "consent": "full"}
    (message,) = store.append(conversation.id, [Message("assistant", answer)], meta)
    store.feedback.add(AnswerReference("message", message), NewFeedback(**feedback))


def rows(path):
    return [json.loads(line) for line in (path / "answers.jsonl").read_text().splitlines()]


def test_each_objective_gets_what_it_learns_from(store, tmp_path):
    rate(store, "Open?", "No.", correction="Until six.")
    rate(store, "Tea?", "Yes.", rating=1)
    rate(store, "Coffee?", "Get it yourself.", rating=-1)
    answers = rated_answers(store)
    assert answers.count() == 3
    answers.write(tmp_path, "sft")
    assert [row["messages"][-1]["content"] for row in rows(tmp_path)] == ["Until six.", "Yes."]
    assert all("rejected" not in row and "rating" not in row for row in rows(tmp_path))
    answers.write(tmp_path, "dpo")
    assert [row["rejected"][-1]["content"] for row in rows(tmp_path)] == ["No."]
    answers.write(tmp_path, "kto")
    assert [(row["messages"][-1]["content"], row["rating"]) for row in rows(tmp_path)] == [
        ("Yes.", True), ("Get it yourself.", False)
    ]  # fmt: skip


def test_without_fitting_answers_there_is_a_sentence(store, tmp_path):
    rate(store, "Tea?", "Yes.", rating=1)
    with pytest.raises(InvalidData, match="'dpo' needs answers with a better answer"):
        rated_answers(store).write(tmp_path, "dpo")


def test_an_erasure_deletes_the_trainings_with_data_of_the_person(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    root = Settings.from_environment().runs
    for name, people in (("20260101-1", ["key:ada"]), ("20260101-2", ["key:bob"]), ("20260101-3", None)):
        (root / name).mkdir(parents=True)
        (root / name / "run.json").write_text('{"kind": "training", "title": "x", "created": 1}')
        if people is not None:
            (root / name / "contributors.json").write_text(json.dumps(people))
    subject = DataSubject("ada")
    assert eraser.export(subject, store) == ["20260101-1"]
    with lock_directory(root / "20260101-1"), pytest.raises(Unavailable, match="Stop it first"):
        eraser.erase(subject, store)
    assert eraser.erase(subject, store) == {"trainings": 1}
    assert sorted(path.name for path in root.iterdir()) == ["20260101-2", "20260101-3"]
