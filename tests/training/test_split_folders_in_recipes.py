"""What a folder holds out is never learned from: its train side trains, its other sides measure."""

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
    said = {**values, "data": data, "training": {"max_seq_len": 128}}
    recipe = with_splits(parse_recipe(said, origin="test"))
    base = load_base_model(recipe)
    return load_datasets(recipe, base.renderer, base.model)


def test_each_side_is_used_for_what_it_is(values, split):
    data = datasets(values, train=str(split))
    assert [len(part) for part in (data.train, data.valid, data.test)] == [20, 6, 4]


def test_what_is_named_goes_before_the_folders_own(values, split, unseen):
    data = datasets(values, train=str(split), valid=str(unseen))
    assert [len(part) for part in (data.train, data.valid, data.test)] == [20, 8, 4]
    data = datasets(values, train=str(split / "train.jsonl"), valid=str(split), test=str(split))
    assert [len(part) for part in (data.train, data.valid, data.test)] == [20, 6, 4]


def test_a_folder_without_a_valid_side_holds_some_of_its_train_side_out(values, split):
    (split / "valid.jsonl").unlink()
    data = datasets(values, train=str(split))
    assert len(data.train) + len(data.valid) == 20
    assert len(data.test) == 4


def test_a_folder_of_held_out_sides_alone_is_refused(values, split):
    (split / "train.jsonl").unlink()
    with pytest.raises(InvalidData, match="the splits test and valid and no train split"):
        datasets(values, train=str(split))


def test_the_recipe_beside_the_weights_says_so(values, split, tmp_path, undrawn):
    from turnwise.training.launch.run_recipe import run_recipe

    run_recipe(parse_recipe({**values, "data": {"train": str(split)}}, origin="test"))
    import yaml

    data = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["data"]
    assert [data[name][0]["split"] for name in ("train", "valid", "test")] == ["train", "valid", "test"]
    assert json.loads((tmp_path / "out" / "result.json").read_text())["loss"]["test_after"]
