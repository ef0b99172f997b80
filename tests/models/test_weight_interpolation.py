"""Interpolated weights lie on the line between the start of a training and its result."""

import json

import pytest
import torch

from turnwise.core.errors import InvalidParameter
from turnwise.models.adapters import ADAPTER_WEIGHTS_FILE
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.safetensors_writer import save_safetensors
from turnwise.models.weight_interpolation import interpolate_folders

NAME = "base_model.model.model.layers.0.mlp.down_proj"


def write_model(folder, value):
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    save_safetensors({"weight": torch.full((2, 3), value)}, folder / "model.safetensors")
    return folder


def write_adapter(folder, value):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}), encoding="utf-8")
    factors = {f"{NAME}.lora_A.weight": torch.full((2, 3), value), f"{NAME}.lora_B.weight": torch.full((4, 2), value)}
    save_safetensors(factors, folder / ADAPTER_WEIGHTS_FILE)
    return folder


def read(path):
    file = SafetensorsFile(path)
    return {name: file.read(name) for name in file.tensors}


def test_the_tensors_of_a_full_model_are_interpolated(tmp_path):
    start, tuned = write_model(tmp_path / "start", 1.0), write_model(tmp_path / "tuned", 5.0)
    interpolate_folders(start, tuned, 0.25, tmp_path / "mixed")
    assert torch.equal(read(tmp_path / "mixed" / "model.safetensors")["weight"], torch.full((2, 3), 2.0))
    assert (tmp_path / "mixed" / "config.json").is_file()


def test_the_factors_of_an_adapter_that_continues_another_are_interpolated(tmp_path):
    start, tuned = write_adapter(tmp_path / "start", 1.0), write_adapter(tmp_path / "tuned", 3.0)
    interpolate_folders(start, tuned, 0.5, tmp_path / "mixed")
    assert all((tensor == 2.0).all() for tensor in read(tmp_path / "mixed" / ADAPTER_WEIGHTS_FILE).values())


def test_a_new_adapter_is_scaled(tmp_path):
    start, tuned = write_model(tmp_path / "start", 1.0), write_adapter(tmp_path / "tuned", 2.0)
    interpolate_folders(start, tuned, 0.5, tmp_path / "mixed")
    tensors = read(tmp_path / "mixed" / ADAPTER_WEIGHTS_FILE)
    change = tensors[f"{NAME}.lora_B.weight"] @ tensors[f"{NAME}.lora_A.weight"]
    assert torch.equal(change, torch.full((4, 3), 4.0))  # half of 2 · 2 · rank 2


def test_weights_of_another_shape_are_an_error_and_nothing_is_written(tmp_path):
    start, tuned = write_model(tmp_path / "start", 1.0), write_model(tmp_path / "tuned", 2.0)
    save_safetensors({"weight": torch.ones(5)}, start / "model.safetensors")
    with pytest.raises(InvalidParameter, match="tensors of another shape"):
        interpolate_folders(start, tuned, 0.5, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_a_model_halfway_to_itself_is_itself(tmp_path):
    from turnwise.models.bundled_models import find_bundled_model

    folder = find_bundled_model("assistant").path
    interpolate_folders(folder, folder, 0.5, tmp_path / "mixed")
    before, after = read(folder / ADAPTER_WEIGHTS_FILE), read(tmp_path / "mixed" / ADAPTER_WEIGHTS_FILE)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
