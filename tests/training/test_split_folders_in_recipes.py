"""Folders with splits: train is for training, the other splits are held out."""

import json

import pytest
from training_dialogues import small_talk, write_chats

from turnwise.core.errors import InvalidData
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.examples.recipe_sources import with_splits
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.recipe import parse_recipe


@pytest.fixture
def split(tmp_path):
    folder = tmp_path / "split"
    folder.mkdir()
    talks = small_talk(30)
    for name, first, last in (("train", 0, 20), ("valid", 20, 26), ("test", 26, 30)):
        write_chats(folder / f"{name}.jsonl", talks[first:last])
    return folder


def datasets(values, **data):
    recipe_values = {**values, "data": data, "training": {"max_seq_len": 128}}
    recipe = with_splits(parse_recipe(recipe_values, origin="test"))
    base = load_base_model(recipe)
    return load_datasets(recipe, base.renderer, base.model)


def test_each_split_is_used_for_its_purpose(values, split):
    data = datasets(values, train=str(split))
    assert [len(dataset) for dataset in (data.train, data.valid, data.test)] == [20, 6, 4]


def test_named_validation_data_replaces_the_split_of_the_folder(values, split, valid_chats):
    data = datasets(values, train=str(split), valid=str(valid_chats))
    assert [len(dataset) for dataset in (data.train, data.valid, data.test)] == [20, 8, 4]
    data = datasets(values, train=str(split / "train.jsonl"), valid=str(split), test=str(split))
    assert [len(dataset) for dataset in (data.train, data.valid, data.test)] == [20, 6, 4]


def test_a_folder_without_a_valid_split_holds_out_training_data(values, split):
    (split / "valid.jsonl").unlink()
    data = datasets(values, train=str(split))
    assert len(data.train) + len(data.valid) == 20
    assert len(data.test) == 4


def test_a_folder_without_a_train_split_is_rejected(values, split):
    (split / "train.jsonl").unlink()
    with pytest.raises(InvalidData, match="the splits test and valid and no train split"):
        datasets(values, train=str(split))


@pytest.mark.costly
def test_the_saved_recipe_has_the_splits(values, split, tmp_path, no_loss_plot):
    from turnwise.training.launch.run_recipe import run_recipe

    run_recipe(parse_recipe({**values, "data": {"train": str(split)}}, origin="test"))
    import yaml

    data = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["data"]
    assert [data[name][0]["split"] for name in ("train", "valid", "test")] == ["train", "valid", "test"]
    assert json.loads((tmp_path / "out" / "result.json").read_text())["loss"]["test_after"]
