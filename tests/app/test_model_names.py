"""Names that commands accept: bundled models, paths, pulled models, hub names; and the default model."""

import json

import pytest

from turnwise.app import default_model
from turnwise.app.model_names import is_model_name, resolve_model_folder
from turnwise.core.errors import ModelNotFound
from turnwise.models.bundled_models import BUNDLED_MODELS, BundledModel, bundled_model_folder
from turnwise.models.stored_models import stored_model_name


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def bundled_adapter(tmp_path, monkeypatch):
    """A table with an adapter of smollm2, `helper`."""
    model = BundledModel("helper", str(tmp_path / "bundled"), "chat", "a helper", "MIT", base="smollm2")
    monkeypatch.setitem(BUNDLED_MODELS, "helper", model)
    return model.path


def add_model(folder, **files):
    """A folder as the store has it."""
    folder.mkdir(parents=True)
    for name in ("source.json", "config.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("name", ["tiny", "box", None])
def test_the_small_bundled_model_has_two_names_and_is_the_fallback(name):
    assert resolve_model_folder(name) == bundled_model_folder("tiny")


def test_the_default_is_the_adapter_of_smollm2_once_that_is_pulled(home):
    stored = add_model(home / "models" / "smollm2")
    assert resolve_model_folder(None) == resolve_model_folder("assistant") == bundled_model_folder("assistant")
    assert resolve_model_folder("smollm2") == stored


def test_a_bundled_adapter_is_found_once_its_base_is_pulled(home, bundled_adapter):
    with pytest.raises(ModelNotFound) as error:
        resolve_model_folder("helper")
    assert str(error.value) == (
        "helper is an adapter of smollm2, which is not on this machine: "
        "run turnwise models pull smollm2 (93 MB, Apache-2.0)."
    )
    add_model(home / "models" / "smollm2")
    assert resolve_model_folder("helper") == bundled_adapter
    assert is_model_name("helper")


def test_a_bundled_adapter_can_be_the_default(home, bundled_adapter, monkeypatch):
    monkeypatch.setattr(default_model, "DEFAULT_MODEL", "helper")
    assert default_model.default_pull() == "smollm2"
    assert resolve_model_folder(None) == bundled_model_folder("tiny")
    assert "helper, needs smollm2, which is not on this machine; using" in default_model.fallback_note()
    add_model(home / "models" / "smollm2")
    assert resolve_model_folder(None) == bundled_adapter


def test_a_path_comes_before_a_pulled_model_of_the_same_name(home, tmp_path):
    stored = add_model(home / "models" / "smollm2")
    assert resolve_model_folder("smollm2") == stored
    (tmp_path / "smollm2").mkdir()
    assert resolve_model_folder("smollm2").resolve() == tmp_path / "smollm2"


def test_a_path_may_be_a_path_object(model_folder):
    assert resolve_model_folder(model_folder) == model_folder


def test_a_pulled_model_comes_before_the_hub_cache(home):
    stored = add_model(home / "models" / "mine")
    assert resolve_model_folder("mine") == stored


@pytest.mark.parametrize("name", ["../secret", "mine/..", ".smollm2.pull", "mi\0ne", "x" * 300, ""])
def test_a_name_never_leaves_the_store(home, name):
    add_model(home / "secret")
    add_model(home / "models" / ".smollm2.pull")
    add_model(home / "models" / "mine")
    if name == "":
        return
    with pytest.raises(ModelNotFound):
        resolve_model_folder(name)


def test_a_model_that_is_not_pulled_names_the_command_the_size_and_the_license():
    with pytest.raises(ModelNotFound) as error:
        resolve_model_folder("smollm2")
    assert str(error.value) == (
        "smollm2 is not on this machine: run turnwise models pull smollm2 (93 MB, Apache-2.0)."
    )  # fmt: skip


def test_a_model_of_the_hub_is_known_by_its_reference_too(home):
    stored = add_model(home / "models" / "name")
    source = {"name": "name", "title": "org/name", "kind": "chat", "license": "mit", "source": "hf:org/name@0123"}
    (stored / "source.json").write_text(json.dumps(source))
    assert resolve_model_folder("hf:org/name") == stored
    assert resolve_model_folder("hf:org/name@0123") == stored
    with pytest.raises(ModelNotFound, match="run turnwise models pull hf:org/other"):
        resolve_model_folder("hf:org/other")


def test_an_unknown_name_points_to_the_list():
    with pytest.raises(ModelNotFound, match="`turnwise models list` lists models to pull"):
        resolve_model_folder("nothing")


def test_names_of_the_catalogue_are_names_unless_a_path_has_them(tmp_path):
    assert is_model_name("tiny")
    assert is_model_name("minilm")
    (tmp_path / "minilm").mkdir()
    assert not is_model_name("minilm")
    assert not is_model_name("runs/mine")


def test_an_adapter_names_a_pulled_base_by_its_name(home, model_folder, tmp_path, one_thread):
    """The adapter then works on every machine that has pulled the base."""
    import shutil

    import torch

    from turnwise.models.adapter_config import adapter_base_folder
    from turnwise.models.adapters import LoraWeights, save_adapter

    base = home / "models" / "mine"
    shutil.copytree(model_folder, base)
    (base / "source.json").write_text("{}")
    assert stored_model_name(base) == "mine"
    assert stored_model_name(model_folder) is None
    (tmp_path / "adapter").mkdir()
    weights = {"model.layers.0.self_attn.q_proj": LoraWeights(torch.zeros(2, 32), torch.zeros(32, 2), None)}
    save_adapter(tmp_path / "adapter", weights, base=base, rank=2, alpha=2, dropout=0, task_type="CAUSAL_LM")
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["base_model_name_or_path"] == "mine"
    assert adapter_base_folder(tmp_path / "adapter") == base


def test_the_base_of_an_adapter_is_looked_up_in_the_store_before_paths(home, tmp_path):
    """The name of a stored model means the same in every directory."""
    from turnwise.models.adapter_config import adapter_base_folder

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "mine", "r": 1, "lora_alpha": 1}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "mine").mkdir()
    assert adapter_base_folder(adapter).resolve() == tmp_path / "mine"
    stored = add_model(home / "models" / "mine")
    assert adapter_base_folder(adapter) == stored


def test_the_base_of_an_adapter_by_peft_is_the_pulled_model(home, tmp_path):
    from turnwise.models.adapter_config import adapter_base_folder

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "org/name", "r": 1, "lora_alpha": 1}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    stored = add_model(home / "models" / "mine")
    (stored / "source.json").write_text('{"source": "hf:org/name@0123", "references": ["hf:org/name@v1.0"]}')
    assert adapter_base_folder(adapter) == stored


def test_a_damaged_entry_does_not_hide_the_others(home):
    (add_model(home / "models" / "broken") / "source.json").write_text("{")
    stored = add_model(home / "models" / "name")
    (stored / "source.json").write_text('{"source": "hf:org/name@0123", "references": 7}')
    assert resolve_model_folder("hf:org/name") == stored


def test_the_converted_folder_of_a_pulled_gguf_file_has_the_name_of_the_model(home, tmp_path):
    stored, converted = home / "models" / "mine", home / "gguf" / "0123" / "model-q4"
    for folder in (stored, converted):
        folder.mkdir(parents=True)
    (tmp_path / "model-q4.gguf").write_bytes(b"GGUF")
    (stored / "model-q4.gguf").symlink_to(tmp_path / "model-q4.gguf")
    (stored / "source.json").write_text("{}")
    (converted / "model.gguf").symlink_to(tmp_path / "model-q4.gguf")
    (converted / "gguf_source.json").write_text("{}")
    assert stored_model_name(converted) == "mine"
    assert stored_model_name(tmp_path) is None


def test_the_default_model_falls_back_to_tiny_until_it_is_pulled(home):
    assert default_model.default_model_name() == "tiny"
    assert default_model.is_default_missing()
    note = default_model.fallback_note()
    assert "assistant, needs smollm2, which is not on this machine; using the small model 'tiny'" in note
    assert "turnwise models pull --default" in note
    add_model(home / "models" / "smollm2")
    assert default_model.default_model_name() == "assistant"
    assert default_model.fallback_note() is None
