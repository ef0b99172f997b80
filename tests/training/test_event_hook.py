"""Events of a run as JSON lines: what happened, replies at validations, and steps that a resumed run repeats."""

import json

import pytest
from hooks import KillingHook
from training_dialogues import small_talk, write_chats

from turnwise.core.event_log import EventLog, read_events
from turnwise.training.event_hook import EventHook
from turnwise.training.hooks import StepReport
from turnwise.training.launch.dry_run import dry_run
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import parse_recipe


@pytest.fixture
def log(tmp_path):
    opened = EventLog(tmp_path / "events.jsonl")
    yield opened
    opened.close()


@pytest.fixture
def recipe(tmp_path, base_folder):
    data = write_chats(tmp_path / "chats.jsonl", small_talk(40))
    return parse_recipe(
        {
            "model": {"from": str(base_folder)}, "data": {"train": str(data)}, "out": str(tmp_path / "model"),
            "training": {"max_steps": 4, "batch_size": 2, "max_seq_len": 64, "eval_steps": 2, "save_steps": 2},
        },
        origin="test",
    )  # fmt: skip


def events(tmp_path, name=None):
    read, _ = read_events(tmp_path / "events.jsonl")
    return [event for event in read if name in (None, event["event"])]


@pytest.mark.costly
def test_a_run_writes_its_data_plan_steps_validations_and_replies(recipe, log, tmp_path, one_thread):
    run_recipe(recipe, hooks=[EventHook(log)])
    names = [event["event"] for event in events(tmp_path)]
    assert names[:4] == ["data", "plan", "start", "validation"]
    assert [event["step"] for event in events(tmp_path, "step")] == [1, 2, 3, 4]
    assert [event["step"] for event in events(tmp_path, "validation")] == [0, 2, 4]
    first, *_ = events(tmp_path, "samples")
    assert first["step"] == 0
    assert len(first["samples"]) == 3
    assert {"question", "reference", "reply"} == set(first["samples"][0])
    assert names[-1] == "trained"


@pytest.mark.costly
def test_replies_do_not_change_the_training(recipe, log, tmp_path, one_thread):
    def losses(folder):
        rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [row["loss"] for row in rows if "loss" in row]

    run_recipe(recipe, hooks=[EventHook(log)])
    run_recipe(recipe.model_copy(update={"out": str(tmp_path / "plain")}))
    assert losses(tmp_path / "model") == losses(tmp_path / "plain")


@pytest.mark.costly
def test_a_resumed_run_says_after_which_step_it_continues(recipe, log, tmp_path, one_thread):
    with pytest.raises(RuntimeError, match="killed"):
        run_recipe(recipe, hooks=[EventHook(log), KillingHook(3)])
    run_recipe(recipe, hooks=[EventHook(log)])
    assert [(event["step"], event["total_steps"]) for event in events(tmp_path, "start")] == [(0, 4), (2, 4)]
    assert [event["step"] for event in events(tmp_path, "step")] == [1, 2, 3, 3, 4]


@pytest.mark.costly
def test_a_dry_run_writes_the_plan_only(recipe, log, tmp_path, one_thread):
    dry_run(recipe, hooks=[EventHook(log)])
    assert [event["event"] for event in events(tmp_path)] == ["data", "plan"]
    (plan,) = events(tmp_path, "plan")
    assert plan["steps"] == 4
    assert plan["seconds"] > 0
    assert not (tmp_path / "model").exists()


def test_a_long_run_writes_means_of_its_steps(log, tmp_path):
    hook = EventHook(log)
    hook.on_train_begin(total_steps=3000, step=0)
    for step in range(1, 8):
        hook.on_step_end(StepReport(step, float(step), 0.1, 1.0, 10, 0.5))
    hook.on_train_end()
    steps = [(event["step"], event["loss"], event["steps_per_second"]) for event in events(tmp_path, "step")]
    assert steps == [(3, 2.0, 2.0), (6, 5.0, 2.0), (7, 7.0, 2.0)]
