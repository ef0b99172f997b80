"""The method of `turnwise train` without `--method` depends on the base model."""

from pathlib import Path

import pytest

from turnwise.cli.recipe_flags import RecipeFlags
from turnwise.training.methods.full import FullMethod
from turnwise.training.methods.lora import LoraMethod


def adapter(folder):
    (folder / "adapter_config.json").write_text("{}")


def gguf_file(folder):
    (folder / "model.gguf").symlink_to(folder.parent / "mine.gguf")
    (folder / "gguf_source.json").write_text("{}")
    (folder / "config.json").write_text("{}")


def full_model(folder):
    (folder / "config.json").write_text("{}")


@pytest.mark.parametrize(
    ("write", "method", "expected"),
    [
        (adapter, None, LoraMethod),
        (gguf_file, None, LoraMethod),
        (gguf_file, "full", FullMethod),
        (full_model, None, FullMethod),
    ],
)
def test_adapters_and_gguf_files_are_trained_with_lora(tmp_path, monkeypatch, write, method, expected):
    base = tmp_path / "base"
    base.mkdir()
    write(base)
    monkeypatch.setattr("turnwise.app.model_names.resolve_model_folder", lambda _: base)
    flags = RecipeFlags(str(base), tmp_path / "out", None, method, data={}, training={}, source_options={})
    assert type(flags.to_recipe(Path("talks.jsonl")).method) is expected
