"""FSDP: sharded runs equal unsharded ones."""

import json
import signal

import pytest
import torch
import training_processes as processes
from hooks import KillingHook
from safetensors.torch import load_file
from sample_items import RATED, written
from training_processes import gradients, steps, validations

from turnwise.core.errors import InvalidParameter
from turnwise.training.distributed.sharding import transformer_layers
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.recipe import parse_recipe

pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")


def alone(values, **more):
    return run_recipe(parse_recipe(values, origin="test"), device=torch.device("cpu"), **more)


def in_parts(values, count=2):
    running = processes.start_together(processes.train, count, with_settings(values, fsdp=True))
    assert [processes.ended(process) for process in running] == [0] * count


def with_settings(values, **settings):
    return {**values, "training": {**values["training"], **settings}}


def same_curve(one, two, apart=1e-4):
    for read in (steps, gradients, validations):
        first, second = (read(folder / "metrics.jsonl") for folder in (one, two))
        assert [row[0] for row in first] == [row[0] for row in second]
        assert [row[1] for row in second] == pytest.approx([row[1] for row in first], rel=apart)


def distance(one, two):
    first, second = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.fixture
def variants(values, tmp_path, base_folder):
    """Recipe values by name; the second of two workers has fewer batches than the first."""
    run_values = with_settings(values, max_steps=6, batch_size=5, micro_batch_size=1, learning_rate=0.005)
    rated = str(written(RATED * 6, tmp_path / "rated.jsonl"))
    texts = {"hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 4, "context_length": 128}
    return {
        "average and mixes": with_settings(run_values, ema_decay=0.9, interpolate=True),
        "muon": with_settings(run_values, optimizer="muon"),
        "kto": {**run_values, "objective": "kto", "data": {"train": rated, "valid": rated}},
        "lora": {**run_values, "method": "lora"},
        "t5": {
            **run_values,
            "objective": "seq2seq",
            "model": {"new": {"family": "t5", **texts}, "tokenizer": str(base_folder)},
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["average and mixes", "muon", "kto", "lora", "t5"])
def test_two_processes_have_the_loss_curve_of_one(variants, tmp_path, name):
    if name in ("lora", "t5"):
        pytest.importorskip("peft")
    one, two = tmp_path / "one", tmp_path / "two"
    alone({**variants[name], "out": str(one)})
    in_parts({**variants[name], "out": str(two)})
    same_curve(one, two)
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, two)]
    assert results[0]["samples"] == results[1]["samples"]
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-4)
    if name != "lora":
        assert distance(one, two) < 1e-4


def test_each_of_two_workers_has_half_of_weights_gradients_and_optimizer_state(base_folder, tmp_path):
    counts_file = tmp_path / "held"
    running = processes.start_together(processes.weigh_parts, 2, base_folder, counts_file)
    assert [processes.ended(process) for process in running] == [0, 0]
    first, second = (json.loads((tmp_path / f"held.{rank}").read_text()) for rank in (0, 1))
    total = first[-1]
    for ours, theirs in zip(first[:-1], second[:-1], strict=True):
        assert ours + theirs == total
        assert ours == pytest.approx(total / 2, rel=0.02)


@pytest.mark.slow
class TestResume:
    @pytest.fixture
    def run_values(self, values):
        return with_settings(values, max_steps=30, save_steps=2, ema_decay=0.9)

    def test_a_run_of_one_process_continues_sharded(self, run_values, tmp_path):
        alone({**run_values, "out": str(tmp_path / "whole")})
        with pytest.raises(RuntimeError):
            alone(run_values, hooks=[KillingHook(at=5)])
        in_parts(run_values)
        same_curve(tmp_path / "whole", tmp_path / "out")

    @pytest.mark.parametrize("again", [1, 3])
    def test_a_sharded_run_continues_with_any_number_of_workers(self, run_values, tmp_path, again):
        alone({**run_values, "out": str(tmp_path / "whole")})
        running = processes.start_together(processes.train, 2, with_settings(run_values, fsdp=True))
        assert processes.when_steps(running[0], tmp_path / "out.partial", 5, signal.SIGKILL)
        running[1].kill()
        for process in running:
            assert processes.ended(process) == -signal.SIGKILL
        if again == 1:
            alone(run_values)
        else:
            in_parts(run_values, again)
        same_curve(tmp_path / "whole", tmp_path / "out")


def test_layers_are_those_of_the_outermost_module_lists():
    inner = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    outer = torch.nn.ModuleList([torch.nn.ModuleDict({"layer": inner}), torch.nn.Identity()])
    assert transformer_layers(torch.nn.ModuleDict({"block": outer})) == list(outer)


@pytest.mark.costly
def test_a_single_process_is_not_sharded(values):
    assert alone(with_settings(values, fsdp=True)).steps == 4


def test_quantized_weights_cannot_be_sharded(recipe):
    with pytest.raises(InvalidParameter, match="'quantize'"):
        recipe(fsdp=True, method={"name": "lora", "quantize": "int8"})
