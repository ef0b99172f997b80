"""Runs as processes: their line, and what is left when a process or the server ends. The command is a stand-in."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from run_parts import OPTIONS, open_manager, process_id, wait_for

from turnwise.app.runs.local_run_manager import MAX_WAITING
from turnwise.app.runs.run_commands import copy_data
from turnwise.app.runs.run_queue import RunQueue
from turnwise.core.errors import InvalidParameter, NotFound, RunConflict, SaveFailed, Unavailable
from turnwise.core.runs import EvaluationOptions, TrainingOptions

HERE = str(Path(__file__).parent)
SERVER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from run_parts import OPTIONS, open_manager
manager = open_manager(Path(sys.argv[1]))
print(manager.start_training(OPTIONS).id, flush=True)
time.sleep(60)
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "chats.jsonl").write_text("{}\n")
    yield tmp_path / "runs"
    for path in tmp_path.glob("runs/*/process.json"):  # of a test that failed
        (path.parent / "go").write_text("")


@pytest.fixture
def open_server(root):
    managers = []

    def start():
        managers.append(open_manager(root))
        return managers[-1]

    yield start
    for manager in managers:
        manager.close()


@pytest.fixture
def manager(open_server):
    return open_server()


def test_a_data_set_that_is_a_relative_link_is_found_in_the_folder_of_the_run(tmp_path):
    (tmp_path / "talks.jsonl").write_text("{}\n")
    for name in ("datasets", "runs/1"):
        (tmp_path / name).mkdir(parents=True)
    link = tmp_path / "datasets" / "chats.jsonl"
    link.symlink_to("../talks.jsonl")
    copied = tmp_path / "runs" / "1" / copy_data(link, tmp_path / "runs" / "1")
    (tmp_path / "talks.jsonl").unlink()
    assert copied.read_text() == "{}\n"


def test_a_plan_ends_with_the_server(manager, monkeypatch):
    monkeypatch.setattr("turnwise.app.runs.training_plan.plan_command", lambda folder: ["sleep", "60"])
    monkeypatch.setattr(manager, "_prepare_training", lambda *_: None)
    with ThreadPoolExecutor(1) as threads:
        plan = threads.submit(manager.plan_training, TrainingOptions("chats.jsonl", "tiny"))
        time.sleep(0.5)
        assert not plan.done()
        manager.close()
        with pytest.raises(Unavailable, match="is being stopped"):
            plan.result(timeout=5)


def test_a_failure_that_lasts_is_logged_once(root, monkeypatch, caplog):
    steps = []

    def fail(queue):
        steps.append(queue)
        raise SaveFailed("The disk is full.")

    monkeypatch.setattr(RunQueue, "_step", fail)
    monkeypatch.setattr("turnwise.app.runs.run_queue.POLL_SECONDS", 0.01)
    queue = RunQueue(root, num_parallel=1, threads=1, niceness=0)
    queue.start()
    wait_for(lambda: len(steps) > 5)
    queue.close()
    assert [record.getMessage() for record in caplog.records] == ["Could not start a run"]


def has_started(root, id, times=1):
    path = root / id / "starts.txt"
    return path.is_file() and len(path.read_text().splitlines()) >= times


def test_runs_start_one_after_the_other_in_the_order_of_their_creation(manager, root):
    ids = [manager.start_training(OPTIONS).id for _ in range(3)]
    for number, id in enumerate(ids):
        wait_for(lambda id=id: has_started(root, id))
        states = [manager.get(other).state for other in ids]
        assert states == ["complete"] * number + ["running"] + ["waiting"] * (2 - number)
        (root / id / "go").write_text("")
        wait_for(lambda id=id: manager.get(id).state == "complete")
    assert [run.id for run in manager.list()] == ids[::-1]


def test_a_run_goes_on_when_the_server_ends_and_the_next_one_knows_it(open_server, root):
    first = open_server()
    id, waiting = (first.start_training(OPTIONS).id for _ in range(2))
    wait_for(lambda: has_started(root, id))
    first.close()
    second = open_server()
    assert (second.get(id).state, second.get(waiting).state) == ("running", "waiting")
    (root / id / "go").write_text("")
    wait_for(lambda: has_started(root, waiting))
    assert second.get(id).state == "complete"
    second.stop(waiting)


def test_a_run_survives_a_killed_server(open_server, root):
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(root), HERE], stdout=subprocess.PIPE, text=True)
    id = server.stdout.readline().strip()
    wait_for(lambda: has_started(root, id))
    server.kill()
    server.wait()
    server.stdout.close()
    manager = open_server()
    assert manager.get(id).state == "running"
    (root / id / "go").write_text("")
    wait_for(lambda: manager.get(id).state == "complete")
    assert has_started(root, id)
    assert not has_started(root, id, times=2)


def test_a_killed_run_has_failed_and_can_be_resumed(manager, root):
    id = manager.start_training(OPTIONS).id
    wait_for(lambda: has_started(root, id))
    os.kill(process_id(root, id), signal.SIGKILL)
    wait_for(lambda: manager.get(id).state == "failed")
    assert manager.get(id).reason == "The process was killed, for example because memory ran out."
    manager.resume(id)
    wait_for(lambda: has_started(root, id, times=2))
    (root / id / "go").write_text("")
    wait_for(lambda: manager.get(id).state == "complete")
    with pytest.raises(RunConflict, match="this one is complete"):
        manager.resume(id)


def test_a_stopped_run_ends_and_can_be_resumed(manager, root):
    id = manager.start_training(OPTIONS).id
    wait_for(lambda: has_started(root, id))
    assert manager.stop(id).is_stopping or manager.get(id).state == "stopped"
    wait_for(lambda: manager.get(id).state == "stopped")
    with pytest.raises(RunConflict):
        manager.stop(id)
    (root / id / "go").write_text("")
    manager.resume(id)
    wait_for(lambda: manager.get(id).state == "complete")
    assert has_started(root, id, times=2)


def test_a_run_that_waits_is_stopped_without_being_started(manager, root):
    first, second = (manager.start_training(OPTIONS).id for _ in range(2))
    wait_for(lambda: has_started(root, first))
    assert manager.stop(second).state == "stopped"
    (root / first / "go").write_text("")
    wait_for(lambda: manager.get(first).state == "complete")
    time.sleep(1.5)  # longer than the queue needs to look again
    assert manager.get(second).state == "stopped"
    assert not has_started(root, second)


def test_two_servers_never_start_a_run_twice(open_server, root):
    managers = [open_server(), open_server()]
    ids = [managers[number % 2].start_training(OPTIONS).id for number in range(4)]
    for id in ids:
        wait_for(lambda id=id: has_started(root, id))
        assert sum(managers[0].get(other).state == "running" for other in ids) == 1
        (root / id / "go").write_text("")
        wait_for(lambda id=id: managers[1].get(id).state == "complete")
    assert not any(has_started(root, id, times=2) for id in ids)


def test_the_error_of_the_command_is_the_reason(manager, root):
    id = manager.start_training(OPTIONS).id
    wait_for(lambda: has_started(root, id))
    (root / id / "go").write_text("fail")
    wait_for(lambda: manager.get(id).state == "failed")
    assert manager.get(id).reason == "The data has no\ufffd[31m replies."


def test_only_a_run_that_has_ended_is_deleted(manager, root):
    id = manager.start_training(OPTIONS).id
    with pytest.raises(RunConflict, match="Stop the run"):
        manager.delete(id)
    manager.stop(id)
    wait_for(lambda: manager.get(id).state == "stopped")
    manager.delete(id)
    assert [path.name for path in root.iterdir() if path.name != ".queue"] == []
    with pytest.raises(NotFound):
        manager.get(id)


def test_the_line_is_limited(manager, root):
    first = manager.start_training(OPTIONS).id
    wait_for(lambda: has_started(root, first))
    for _ in range(MAX_WAITING):
        manager.start_training(OPTIONS)
    with pytest.raises(RunConflict, match=f"{MAX_WAITING} runs are waiting"):
        manager.start_training(OPTIONS)
    for run in manager.list():
        manager.stop(run.id)


@pytest.mark.parametrize("id", ["", ".", "..", "../chats.jsonl", "20260101-000000-000000ab/../..", "a" * 500, "\0"])
def test_an_id_that_is_none_names_no_run(manager, id):
    for call in (manager.get, manager.stop, manager.resume, manager.delete, manager.report, manager.serve):
        with pytest.raises(NotFound):
            call(id)


@pytest.mark.parametrize("name", ["--out=x.jsonl", "$(touch x).jsonl", "${HOME}.jsonl", "a b;c.JSONL", "über.txt"])
def test_the_name_of_a_data_set_is_not_part_of_the_command(manager, root, name):
    (root.parent / name).write_text("{}\n")
    manager.start_training(TrainingOptions(name, "tiny", title=f"--help {name}\n"))
    manager.start_evaluation(EvaluationOptions(name, "tiny", "tiny", title="--help"))
    evaluation, training = manager.list()
    assert training.title == f"--help {name}"
    suffix = Path(name).suffix.lower()
    folder = root / training.id
    assert json.loads((folder / "command.json").read_text()) == [
        "train", f"{folder}/recipe.yaml", f"--events={folder}/events.jsonl"
    ]  # fmt: skip
    assert f"path: {folder}/data{suffix}\n" in (folder / "recipe.yaml").read_text()
    command = json.loads((root / evaluation.id / "command.json").read_text())
    assert command[1] == f"--data={root}/{evaluation.id}/data{suffix}"
    assert command[-2] == "--"
    for run in manager.list():
        manager.stop(run.id)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"base_model": "--help"}, "base_model"),
        ({"base_model": "../tiny"}, "base_model"),
        ({"base_model": "run:../x"}, "base_model"),
        ({"minutes": 5.0}, "minutes"),
        ({"objective": "dpo", "replay_ratio": 0.5}, None),
        ({"dataset": None}, "dataset"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_is_written(manager, root, changes, param):
    values = {"dataset": "chats.jsonl", "base_model": "tiny"} | changes
    with pytest.raises(InvalidParameter) as caught:
        manager.start_training(TrainingOptions(**values))
    assert param is None or caught.value.param == param
    assert manager.list() == []
    assert not list(root.glob(".*.part"))


def test_the_folder_of_a_run_is_private_and_keeps_its_data(manager, root):
    id = manager.start_training(OPTIONS).id
    (root.parent / "chats.jsonl").unlink()
    assert (root / id / "data.jsonl").read_text() == "{}\n"
    assert (root / id).stat().st_mode & 0o077 == 0
    manager.stop(id)


def test_runs_skip_bad_rows(manager, root):
    (root.parent / "chats.jsonl").write_text("{}\n")
    training = manager.start_training(TrainingOptions("chats.jsonl", "tiny"))
    evaluation = manager.start_evaluation(EvaluationOptions("chats.jsonl", "tiny"))
    assert "skip_bad_rows: true\n" in (root / training.id / "recipe.yaml").read_text()
    assert "--skip-bad-rows" in json.loads((root / evaluation.id / "command.json").read_text())
