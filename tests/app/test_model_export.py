"""What an exported model takes over: the license that the store states, and the generation config."""

import json
import shutil

import pytest
import torch

from turnwise.app.generation_defaults import load_generation_defaults
from turnwise.app.model_export import convert_model, export_gguf
from turnwise.app.model_store.pull import plan_pull
from turnwise.app.model_store.store import ModelStore
from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.generation_config import read_generation_config
from turnwise.models.gguf.header_reader import read_header

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("is_gguf", [False, True], ids=["folder", "GGUF"])
def test_the_license_is_the_one_that_the_store_states(home, tmp_path, model_folder, is_gguf):
    path = model_folder
    if is_gguf:
        path = tmp_path / "original.gguf"
        export_gguf(str(model_folder), path, "q8_0")
    folder, _ = plan_pull(str(path), name="mine").run(ModelStore(), lambda *_: None)

    def exported_license():
        export_gguf("mine", tmp_path / "exported.gguf", "q8_0")
        return read_header(tmp_path / "exported.gguf").metadata.get("general.license")

    assert exported_license() is None, "the license of a path is unknown"
    source = json.loads((folder / "source.json").read_text())
    (folder / "source.json").write_text(json.dumps(source | {"license": "Apache-2.0"}))
    assert exported_license() == "Apache-2.0"
    (folder / "source.json").write_text("{")
    assert exported_license() is None


@pytest.fixture
def adapter(tmp_path, model_folder):
    """An adapter and its base, neither with a generation config."""
    base, folder = tmp_path / "base", tmp_path / "adapter"
    shutil.copytree(model_folder, base)
    (base / "generation_config.json").unlink(missing_ok=True)
    folder.mkdir()
    weights = {"model.layers.0.self_attn.q_proj": LoraWeights(torch.zeros(2, 32), torch.zeros(32, 2))}
    save_adapter(folder, weights, base=base, rank=2, alpha=2, dropout=0, task_type="CAUSAL_LM")
    return folder, base


def test_the_generation_config_is_the_adapter_s_else_the_base_s(adapter):
    folder, base = adapter
    assert read_generation_config(folder) is None
    (base / "generation_config.json").write_text('{"temperature": 0.6}')
    assert read_generation_config(folder) == {"temperature": 0.6}
    assert load_generation_defaults(folder) == {"temperature": 0.6}
    (folder / "generation_config.json").write_text('{"temperature": 0.3}')
    assert read_generation_config(folder) == {"temperature": 0.3}


def test_a_converted_adapter_has_its_own_generation_config(adapter, tmp_path):
    folder, base = adapter
    (base / "generation_config.json").write_text('{"temperature": 0.6}')
    (folder / "generation_config.json").write_text('{"temperature": 0.3}')
    convert_model(str(folder), tmp_path / "converted")
    assert json.loads((tmp_path / "converted" / "generation_config.json").read_text())["temperature"] == 0.3


def test_a_conversion_adds_no_generation_parameters(adapter, tmp_path):
    convert_model(str(adapter[1]), tmp_path / "converted")
    config = json.loads((tmp_path / "converted" / "generation_config.json").read_text())
    assert config.keys() == {"eos_token_id", "pad_token_id"}
