"""A home folder with a library of versions, and folders of runs as `turnwise train` leaves them."""

import shutil

import pytest
import yaml

from turnwise.app.model_versions.version_library import open_version_library


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def library(home):
    with open_version_library() as opened:
        yield opened


@pytest.fixture
def make_run(tmp_path, model_folder):
    """make_run(name, seed=…): a model folder of random weights with a recipe and its data."""
    import torch
    from safetensors.torch import load_file, save_file

    def make(name="run", seed=1, data="talks.jsonl", text='{"messages": []}\n', **model):
        folder = tmp_path / "runs" / name
        shutil.copytree(model_folder, folder)
        tensors = load_file(folder / "model.safetensors")
        tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"], seed)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        if data is not None:
            (tmp_path / data).write_text(text)
            values = {
                "objective": "sft",
                "model": {"from": str(model_folder), **model},
                "data": {"train": [{"path": data, "repeat": 1.0}], "valid": [], "valid_fraction": 0.1},
                "training": {"learning_rate": 0.001, "time_budget": None},
                "out": str(folder),
            }
            (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
        return folder

    return make
