"""Training on a Ray cluster that the command starts."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from training_processes import free_port, steps, validations

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.training.launch.ray_cluster import run_on_ray
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import parse_recipe

pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")
LONGEST = 120  # seconds


@pytest.fixture
def run_values(values):
    more = {"max_steps": 60, "save_steps": 5, "eval_steps": 20, "early_stopping_patience": 0}
    return {**values, "training": {**values["training"], **more}}


@pytest.fixture
def command(run_values, tmp_path):
    """The running process of `turnwise train … --ray local`; killed at the end."""
    pytest.importorskip("ray", reason="needs ray: pip install 'turnwise[ray]'")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(run_values))
    arguments = [sys.executable, "-m", "turnwise", "train", str(path), "--num-workers", "2", "--ray", "local"]
    environment = {**os.environ, "TURNWISE_RUN": str(tmp_path), "COLUMNS": "200"}
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def after_steps(command, work, count):
    """Wait until the metrics file has `count` steps."""
    end = time.monotonic() + LONGEST
    while len(steps(work / "metrics.jsonl")) < count:
        assert command.poll() is None, command.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.005)


def worker_of(run):
    """Process id of a Ray worker of this run."""
    mark = f"TURNWISE_RUN={run}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"TrainWorker" in (process / "cmdline").read_bytes() and mark in (process / "environ").read_bytes():
                return int(process.name)
        except OSError:  # another user's process, or ended
            continue
    raise AssertionError("no worker was found")


def same_run(one, two):
    for read in (steps, validations):
        first, second = (read(folder / "metrics.jsonl") for folder in (one, two))
        assert [row[0] for row in first] == [row[0] for row in second]
        assert [row[1] for row in second] == pytest.approx([row[1] for row in first], rel=1e-4)


@pytest.mark.slow
def test_a_run_with_a_lost_worker_has_the_loss_curve_of_one_process(run_values, command, tmp_path):
    run_recipe(parse_recipe({**run_values, "out": str(tmp_path / "one")}, origin="test"), device=torch.device("cpu"))
    after_steps(command, tmp_path / "out.partial", 8)
    os.kill(worker_of(tmp_path), signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    output = command.communicate(timeout=LONGEST)[1]
    assert command.returncode == 0, output
    same_run(tmp_path / "one", tmp_path / "out")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "out"))
    assert all((first[name] - second[name]).abs().max() < 1e-4 for name in first)
    assert "60 steps in" in output
    assert not (tmp_path / "out.ray").exists()


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_that_can_be_resumed_without_ray(run_values, command, tmp_path):
    after_steps(command, tmp_path / "out.partial", 3)
    command.send_signal(signal.SIGINT)
    output = command.communicate(timeout=LONGEST)[1]
    assert command.returncode == 130, output
    assert "The same command resumes the run" in output
    assert "Traceback" not in output
    stopped = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())["step"]
    assert 3 <= stopped == steps(tmp_path / "out.partial" / "metrics.jsonl")[-1][0] < 60
    assert run_recipe(parse_recipe(run_values, origin="test"), device=torch.device("cpu")).steps == 60


def test_without_ray_the_error_names_the_package(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'turnwise\[ray\]'"):
        run_on_ray(recipe(), address="local", num_workers=2)


@pytest.mark.costly
@pytest.mark.parametrize("address", ["127.0.0.1:{}", "somewhere"])
def test_an_unreachable_cluster_is_rejected(recipe, address):
    pytest.importorskip("ray", reason="needs ray: pip install 'turnwise[ray]'")
    with pytest.raises(UserError, match="There is no Ray cluster at"):
        run_on_ray(recipe(), address=address.format(free_port()), num_workers=2)


def test_an_existing_folder_is_rejected_before_ray_starts(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidParameter, match="exists already"):
        run_on_ray(recipe(), address="local", num_workers=2)
