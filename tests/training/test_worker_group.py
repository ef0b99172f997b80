"""Data-parallel runs equal runs of one process."""

import os
import subprocess
import sys

import pytest
import torch
import yaml
from hooks import KillingHook
from safetensors.torch import load_file
from sample_items import RATED, written
from training_processes import free_port, steps, validations

from turnwise.core.errors import InvalidParameter
from turnwise.training.distributed.worker_group import WorkerGroup
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import parse_recipe

pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")


def together(values, tmp_path, count):
    """Run a recipe in `count` processes with the environment of torchrun; return their stderr."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    shared = {
        **os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "turnwise", "train", str(path)]
    running = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE)
        for rank in range(count)
    ]
    outputs = [process.communicate(timeout=240)[1].decode() for process in running]
    assert [process.returncode for process in running] == [0] * count, outputs
    return outputs


def alone(values):
    return run_recipe(parse_recipe(values, origin="test"), device=torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["sft", "kto"])
def test_two_processes_have_the_loss_curve_of_one(values, tmp_path, objective):
    run_values = {**values, "objective": objective}
    run_values["training"] = {**run_values["training"], "max_steps": 6, "micro_batch_size": 2, "learning_rate": 0.005}
    if objective == "kto":
        path = str(written(RATED * 6, tmp_path / "rated.jsonl"))
        run_values["data"] = {"train": path, "valid": path}
    alone({**run_values, "out": str(tmp_path / "one")})
    outputs = together({**run_values, "out": str(tmp_path / "two")}, tmp_path, 2)
    for read in (steps, validations):
        one, two = (read(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
        assert [row[0] for row in one] == [row[0] for row in two]
        assert [row[1] for row in two] == pytest.approx([row[1] for row in one], rel=1e-4)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all((first[name] - second[name]).abs().max() < 1e-4 for name in first)
    assert "steps in" in outputs[0]
    assert outputs[1] == ""


@pytest.mark.slow
def test_a_run_of_one_process_continues_with_two(values, tmp_path):
    run_values = {**values, "training": {**values["training"], "max_steps": 6}}
    alone({**run_values, "out": str(tmp_path / "whole")})
    with pytest.raises(RuntimeError):
        run_recipe(parse_recipe(run_values, origin="test"), device=torch.device("cpu"), hooks=[KillingHook(at=3)])
    together(run_values, tmp_path, 2)
    one, two = (steps(tmp_path / name / "metrics.jsonl") for name in ("whole", "out"))
    assert [row[1] for row in two] == pytest.approx([row[1] for row in one], rel=1e-4)


def test_a_batch_size_below_the_number_of_workers_is_rejected(trainer, recipe):
    from turnwise.training.plan import make_plan

    plan = trainer(recipe(batch_size=2)).plan
    with pytest.raises(InvalidParameter, match="3 workers need at least one sequence each"):
        make_plan(plan.recipe, plan.base, plan.data, work=plan.work, workers=WorkerGroup(0, 3))


def test_a_single_process_needs_no_communication():
    assert WorkerGroup.from_environment() == WorkerGroup(0, 1)
    assert WorkerGroup().all_reduce_sum([1.5, 2]) == [1.5, 2]
    assert WorkerGroup().any(True)
    assert not WorkerGroup().any(False)
