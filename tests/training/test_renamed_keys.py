"""Keys of earlier versions: rejected in new recipes, translated in unfinished runs."""

import json

import pytest
import torch
import yaml
from hooks import KillingHook

from turnwise.core.errors import InvalidParameter
from turnwise.training.checkpoint_files import TrainerState
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.methods import METHODS
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import parse_recipe
from turnwise.training.recipe_sections import DataSection, SourceConfig, TrainingSection
from turnwise.training.renamed_keys import DATA, NAMES, OPTIONS, SOURCE, STATE, TRAINING, with_current_keys

OLD = {
    "objective": {"name": "dpo", "smoothing": 0.1},
    "method": {"name": "partial", "last": 1},
    "model": {"from": "base"},
    "data": {"train": [{"path": "a", "limit": 5}], "general": "b", "skip_bad": True},
    "training": {"rows": 4, "row_length": 64, "warmup": 0.1},
    "out": "out",
}
CURRENT = {
    "objective": {"name": "dpo", "label_smoothing": 0.1},
    "method": {"name": "freeze", "last_layers": 1},
    "model": {"from": "base"},
    "data": {"train": [{"path": "a", "max_items": 5}], "retention": "b", "skip_bad_rows": True},
    "training": {"batch_size": 4, "max_seq_len": 64, "warmup_ratio": 0.1},
    "out": "out",
}


def with_old_keys(values, names):
    old_names = {current: old for old, current in names.items()}
    return {old_names.get(key, key): value for key, value in values.items()}


def test_old_keys_are_translated():
    assert with_current_keys(OLD) == with_current_keys(CURRENT) == CURRENT
    assert with_current_keys({"method": "soft"}) == {"method": "prompt_tuning"}


@pytest.mark.parametrize("values", [None, [], "text", {"data": 5, "training": None, "objective": 3}], ids=str)
def test_values_that_are_no_recipe_are_unchanged(values):
    assert with_current_keys(values) == values


@pytest.mark.parametrize(
    ("section", "path", "current"),
    [
        ({"training": {"rows": 4}}, "training.rows", "batch_size"),
        ({"data": {"train": "a", "rehearse": 0.5}}, "data.rehearse", "replay_ratio"),
        ({"data": {"train": [{"path": "a", "side": "train"}]}}, "data.train.0.side", "split"),
        ({"method": "partial"}, "method.partial", "freeze"),
        ({"method": {"name": "lora", "targets": []}}, "method.targets", "target_modules"),
        ({"objective": {"name": "kto", "good": 2}}, "objective.good", "desirable_weight"),
    ],
)
def test_a_new_recipe_with_an_old_key_is_rejected_with_the_current_key(section, path, current):
    values = {"model": {"from": "base"}, "data": {"train": "a"}, "out": "out"}
    with pytest.raises(InvalidParameter, match=f"^mine.yaml: '{path}' is now called '{current}'.$") as caught:
        parse_recipe({**values, **section}, origin="mine.yaml")
    assert caught.value.param == path


def test_all_current_keys_exist():
    assert TrainingSection.model_fields.keys() >= set(TRAINING.values())
    assert DataSection.model_fields.keys() >= set(DATA.values())
    assert SourceConfig.model_fields.keys() >= set(SOURCE.values())
    assert TrainerState.__dataclass_fields__.keys() >= set(STATE.values())
    assert set(METHODS.names()) >= set(NAMES["method"].values())
    for name, options in OPTIONS.items():
        registry = METHODS if name in METHODS.names() else OBJECTIVES
        assert registry.plugin_class(name).model_fields.keys() >= set(options.values())


@pytest.mark.costly
@pytest.mark.usefixtures("no_loss_plot", "one_thread")
def test_an_unfinished_run_of_an_earlier_version_is_resumed(values, tmp_path):
    recipe = parse_recipe(values, origin="test")
    with pytest.raises(RuntimeError, match="killed"):
        run_recipe(recipe, device=torch.device("cpu"), hooks=[KillingHook(at=3)])
    for folder in ("checkpoint", "rollback"):
        path = tmp_path / "out.partial" / folder / "recipe.yaml"
        saved = yaml.safe_load(path.read_text())
        saved["training"] = with_old_keys(saved["training"], TRAINING)
        saved["data"] = with_old_keys(saved["data"], DATA)
        saved["data"]["train"] = [with_old_keys(source, SOURCE) for source in saved["data"]["train"]]
        path.write_text(yaml.safe_dump(saved))
        state = path.with_name("state.json")
        state.write_text(json.dumps(with_old_keys(json.loads(state.read_text()), STATE)))
    assert "rows" in yaml.safe_load(path.read_text())["training"]
    assert run_recipe(recipe, device=torch.device("cpu")).steps == 4
