"""A training of the small bundled model that is killed, stopped and resumed, and an evaluation of the result."""

import os
import signal

import pytest
from run_parts import Files, process_id, wait_for

from turnwise.app.runs.local_run_manager import LocalRunManager
from turnwise.core.errors import UserError
from turnwise.core.runs import EvaluationOptions, TrainingOptions

pytestmark = pytest.mark.slow
SECONDS = 1500  # the machine may be busy


@pytest.fixture
def manager(tmp_path):
    lines = [
        f'{{"messages": [{{"role": "user", "content": "Where is lamp {i}?"}}, '
        f'{{"role": "assistant", "content": "Lamp {i} is in the shop."}}]}}\n'
        for i in range(40)
    ]
    (tmp_path / "chats.jsonl").write_text("".join(lines))
    (tmp_path / "broken.jsonl").write_text("{}\n")
    opened = LocalRunManager(
        tmp_path / "runs", Files(tmp_path), load_model=lambda folder, name: f"{name} from {folder.name}",
        niceness=0, threads=1,
    )  # fmt: skip
    yield opened
    for run in opened.list():
        if run.is_open:
            opened.stop(run.id)
    opened.close()


def events(manager, id, name):
    return [event for event in manager.progress(id, 0).events if event["event"] == name]


@pytest.mark.timeout(SECONDS)
def test_a_training_is_killed_stopped_resumed_and_served(manager, tmp_path):
    options = TrainingOptions("chats.jsonl", "tiny", epochs=None, minutes=1)
    plan = manager.plan_training(options)
    assert plan["examples"]["train"] + plan["examples"]["valid"] == 40
    assert plan["steps"] > 0
    with pytest.raises(UserError, match=r"data\.jsonl"):
        manager.plan_training(TrainingOptions("broken.jsonl", "tiny"))
    id = manager.start_training(options).id
    wait_for(lambda: len(events(manager, id, "step")) >= 2, SECONDS)
    os.kill(process_id(tmp_path / "runs", id), signal.SIGKILL)
    wait_for(lambda: manager.get(id).state == "failed", SECONDS)
    manager.resume(id)
    count = len(events(manager, id, "step"))
    wait_for(lambda: len(events(manager, id, "step")) >= count + 2, SECONDS)
    manager.stop(id)
    wait_for(lambda: manager.get(id).state == "stopped", SECONDS)
    starts = len(events(manager, id, "start"))
    manager.resume(id)
    wait_for(lambda: len(events(manager, id, "start")) > starts, SECONDS)
    assert events(manager, id, "start")[-1]["step"] >= 2, "it goes on from the checkpoint of the stop"
    wait_for(lambda: not manager.get(id).is_open, SECONDS)
    run = manager.get(id)
    assert run.state == "complete", run.reason
    assert run.result["valid_after"] < run.result["valid_before"]
    assert len(run.samples) == 3
    assert manager.serve(id) == f"chats-{id[-4:]} from model"
    evaluation = manager.start_evaluation(EvaluationOptions("chats.jsonl", f"run:{id}", limit=3)).id
    wait_for(lambda: not manager.get(evaluation).is_open, SECONDS)
    assert manager.get(evaluation).state == "complete", manager.get(evaluation).reason
    assert "<style>" in manager.report(evaluation)
