"""What every model that comes with the package has: a card, a license, a base in the catalogue, and a small size."""

import json

import pytest

from turnwise.app.model_store.catalogue_entry import load_catalogue
from turnwise.models.adapter_config import is_adapter, read_adapter_config
from turnwise.models.bundled_models import (
    ALL_BUNDLED_MODELS,
    BUNDLED_MODELS,
    BundledModel,
    bundled_model_at,
    bundled_model_folder,
    find_bundled_model,
)
from turnwise.models.classifier_config import is_classifier
from turnwise.models.safetensors_file import SafetensorsFile

MAX_ADAPTER_BYTES = {"chat": 8_000_000, "classification": 2_000_000}

every_model = pytest.mark.parametrize("model", BUNDLED_MODELS.values(), ids=lambda model: model.name)


def test_names_and_aliases_are_unique_and_none_is_of_the_catalogue():
    names = [name for model in ALL_BUNDLED_MODELS for name in (model.name, *model.aliases)]
    assert len(set(names)) == len(names)
    assert not set(names) & load_catalogue().keys()


def test_a_model_is_found_by_name_alias_and_folder():
    tiny = BUNDLED_MODELS["tiny"]
    assert find_bundled_model("tiny") is find_bundled_model("box") is bundled_model_at(tiny.path) is tiny
    assert find_bundled_model("nothing") is None
    assert bundled_model_at(tiny.path.parent) is None
    with pytest.raises(KeyError):
        bundled_model_folder("nothing")


def test_the_base_of_an_adapter_is_a_model_of_the_catalogue():
    assert {model.base for model in ALL_BUNDLED_MODELS} - {None} <= load_catalogue().keys()


@every_model
def test_a_model_has_a_card_with_its_license(model: BundledModel):
    card = (model.path / "README.md").read_text(encoding="utf-8")
    assert f"\nlicense: {model.license.lower()}\n" in card
    assert "@measured@" not in card


@every_model
def test_a_model_is_what_the_table_says(model: BundledModel):
    assert is_classifier(model.path) == (model.kind == "classification")
    assert is_adapter(model.path) == (model.base is not None)
    if model.base is not None:
        assert read_adapter_config(model.path)["base_model_name_or_path"] == model.base
        assert len(json.loads((model.path / "adapter_base.json").read_text())["digest"]) == 64
        assert not (model.path / "tokenizer.json").exists(), "it is that of the base"
        assert sum(path.stat().st_size for path in model.path.iterdir()) <= MAX_ADAPTER_BYTES[model.kind]
        for path in model.path.glob("*.safetensors"):
            assert {header.dtype for header in SafetensorsFile(path).tensors.values()} <= {"F16"}
