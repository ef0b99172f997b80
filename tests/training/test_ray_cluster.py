"""Training in workers of a Ray cluster that lives as long as the command."""

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

pytestmark = pytest.mark.usefixtures("undrawn", "one_thread")
LONGEST = 120  # seconds


@pytest.fixture
def said(values):
    more = {"max_steps": 60, "save_steps": 5, "eval_steps": 20, "early_stopping_patience": 0}
    return {**values, "training": {**values["training"], **more}}


@pytest.fixture
def command(said, tmp_path):
    """`turnwise train … --ray local`, started; whatever is left of it at the end is ended."""
    pytest.importorskip("ray", reason="needs ray: pip install 'turnwise[ray]'")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(said))
    words = [sys.executable, "-m", "turnwise", "train", str(path), "--num-workers", "2", "--ray", "local"]
    own = {**os.environ, "TURNWISE_RUN": str(tmp_path), "COLUMNS": "200"}
    with subprocess.Popen(words, env=own, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def after_steps(command, work, count):
    """Wait until so many steps stand in the metrics file."""
    end = time.monotonic() + LONGEST
    while len(steps(work / "metrics.jsonl")) < count:
        assert command.poll() is None, command.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.005)


def worker_of(run):
    """The number of a process of Ray's in which this run trains."""
    mark = f"TURNWISE_RUN={run}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"TrainWorker" in (process / "cmdline").read_bytes() and mark in (process / "environ").read_bytes():
                return int(process.name)
        except OSError:  # somebody else's, or gone
            continue
    raise AssertionError("no worker was found")


def same_run(one, two):
    for read in (steps, validations):
        first, second = (read(folder / "metrics.jsonl") for folder in (one, two))
        assert [row[0] for row in first] == [row[0] for row in second]
        assert [row[1] for row in second] == pytest.approx([row[1] for row in first], rel=1e-4)


@pytest.mark.slow
def test_a_worker_is_lost_and_the_run_ends_as_that_of_one_process(said, command, tmp_path):
    run_recipe(parse_recipe({**said, "out": str(tmp_path / "one")}, origin="test"), device=torch.device("cpu"))
    after_steps(command, tmp_path / "out.partial", 8)
    os.kill(worker_of(tmp_path), signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    told = command.communicate(timeout=LONGEST)[1]
    assert command.returncode == 0, told
    same_run(tmp_path / "one", tmp_path / "out")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "out"))
    assert all((first[name] - second[name]).abs().max() < 1e-4 for name in first)
    assert "60 steps in" in told
    assert not (tmp_path / "out.ray").exists()


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from_without_ray(said, command, tmp_path):
    after_steps(command, tmp_path / "out.partial", 3)
    command.send_signal(signal.SIGINT)
    told = command.communicate(timeout=LONGEST)[1]
    assert command.returncode == 130, told
    assert "The same command continues the run" in told
    assert "Traceback" not in told
    stopped = json.loads((tmp_path / "out.partial" / "checkpoint" / "state.json").read_text())["step"]
    assert 3 <= stopped == steps(tmp_path / "out.partial" / "metrics.jsonl")[-1][0] < 60
    assert run_recipe(parse_recipe(said, origin="test"), device=torch.device("cpu")).steps == 60


def test_without_ray_it_says_what_to_install(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'turnwise\[ray\]'"):
        run_on_ray(recipe(), address="local", num_workers=2)


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "somewhere"])
def test_where_no_cluster_is_it_says_so(recipe, address):
    pytest.importorskip("ray", reason="needs ray: pip install 'turnwise[ray]'")
    with pytest.raises(UserError, match="There is no Ray cluster at"):
        run_on_ray(recipe(), address=address.format(free_port()), num_workers=2)


def test_what_is_there_is_refused_before_anything_is_started(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidParameter, match="exists already"):
        run_on_ray(recipe(), address="local", num_workers=2)
