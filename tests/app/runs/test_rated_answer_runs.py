"""Rated answers as data of trainings: what each objective learns from, and erasure of the people behind it."""

import json

import pytest
from run_parts import Files

from turnwise.app.erasers import runs as eraser
from turnwise.app.runs import run_queue
from turnwise.app.runs.local_run_manager import LocalRunManager
from turnwise.app.runs.run_queue import RunQueue
from turnwise.core.data_subjects import DataSubject
from turnwise.core.directory_lock import lock_directory
from turnwise.core.errors import InvalidData, Unavailable
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.core.runs import TrainingOptions
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
    answers = rated_answers(store, tmp_path / "improve.yaml")
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
        rated_answers(store, tmp_path / "improve.yaml").write(tmp_path, "dpo")


def test_personal_data_are_masked_in_all_parts_of_a_row(store, tmp_path):
    rate(store, "I am at ada@example.org.", "No.", correction="I write to ada@example.org.")

    settings = tmp_path / "improve.yaml"
    answers = rated_answers(store, settings)
    answers.write(tmp_path, "dpo")
    (row,) = rows(tmp_path)
    assert [message["content"] for message in row["messages"]] == ["I am at [EMAIL_1].", "I write to [EMAIL_1]."]
    assert row["rejected"][0]["content"] == "I am at [EMAIL_1]."
    settings.write_text("public_texts: [ada@example.org]")  # it is read for every training
    answers.write(tmp_path, "dpo")
    assert rows(tmp_path)[0]["messages"][1]["content"] == "I write to ada@example.org."
    settings.write_text("masks_personal_data: false")
    answers.write(tmp_path, "dpo")
    assert rows(tmp_path)[0]["messages"][0]["content"] == "I am at ada@example.org."


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


def add_training(root, name, people):
    (root / name / "model").mkdir(parents=True)
    (root / name / "run.json").write_text('{"kind": "training", "title": "x", "created": 1}')
    (root / name / "answers.jsonl").write_text("Ada's words")
    (root / name / "contributors.json").write_text(json.dumps(people))


def test_an_erasure_that_was_interrupted_is_completed_by_the_next_one(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    root = Settings.from_environment().runs
    add_training(root, "20260101-1", ["key:ada"])

    def delete_one_file(path, **_):  # as a kill in the middle of it
        (path / "contributors.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(eraser.shutil, "rmtree", delete_one_file)
        with pytest.raises(KeyboardInterrupt):
            eraser.erase(DataSubject("ada"), store)
    eraser.erase(DataSubject("ada"), store)
    assert list(root.iterdir()) == []


def test_an_erasure_deletes_what_killed_servers_have_left_of_the_person(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    root = Settings.from_environment().runs
    for name, people in ((".plan-a", ["key:ada"]), (".plan-b", ["key:bob"]), (".20260101-1.x.part", [])):
        add_training(root, name, people)
    assert eraser.erase(DataSubject("ada"), store) == {"trainings": 0}
    assert [path.name for path in root.iterdir()] == [".plan-b"]


def test_no_training_starts_during_an_erasure(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    monkeypatch.setattr(run_queue, "LOCK_SECONDS", 0.1)
    root = Settings.from_environment().runs
    add_training(root, "20260101-1", ["key:ada"])
    with run_queue.lock_runs(root), pytest.raises(Unavailable, match="is starting a run"):
        eraser.erase(DataSubject("ada"), store)
    assert (root / "20260101-1").is_dir()


def test_who_has_contributed_to_a_model_has_contributed_to_those_that_are_trained_from_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    root = Settings.from_environment().runs
    base = "20260101-000000-00000000"
    add_training(root, base, ["key:ada"])
    (root / base / "model" / "config.json").write_text("{}")
    (tmp_path / "chats.jsonl").write_text("{}\n")
    monkeypatch.setattr(RunQueue, "start", lambda queue: None)
    manager = LocalRunManager(root, Files(tmp_path))
    run = manager.start_training(TrainingOptions("chats.jsonl", f"run:{base}"))
    manager.close()
    assert json.loads((root / run.id / "contributors.json").read_text()) == ["key:ada"]
