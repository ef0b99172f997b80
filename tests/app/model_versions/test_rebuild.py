"""A version can be trained again from its folder alone, with the same bytes; and what prevents it is named."""

import json

import pytest
import torch

from turnwise.app.model_versions.add_version import add_run
from turnwise.app.model_versions.prune import unrecorded_folders
from turnwise.app.model_versions.rebuild import rebuild_version
from turnwise.core.errors import ModelNotFound, UserError


@pytest.fixture
def trained_version(library, tmp_path, model_folder, one_thread):
    """A version that was really trained, by some steps on the tiny model; train(method) adds one."""
    from turnwise.training.launch.run_recipe import run_recipe
    from turnwise.training.recipe import parse_recipe

    def train(method):
        lines = [
            {"messages": [{"role": "user", "content": f"Where is number {i}?"},
                          {"role": "assistant", "content": f"Number {i} is on its way."}]}
            for i in range(20)
        ]  # fmt: skip
        (tmp_path / "talks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        values = {
            "method": method,
            "model": {"from": str(model_folder)},
            "data": {"train": "talks.jsonl"},
            "training": {"max_steps": 4, "max_seq_len": 64, "batch_size": 2, "neftune_noise_alpha": 1.0},
            "out": "runs/trained",
        }
        run_recipe(parse_recipe(values, origin="test"), overwrite=True)
        version = add_run(library, "helper", tmp_path / "runs" / "trained", reason="A training.", move=True).version
        (tmp_path / "talks.jsonl").unlink()
        return version

    return train


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", {"name": "lora", "rank": 4}], ids=["full", "lora"])
def test_a_version_that_is_trained_again_has_the_same_bytes(library, trained_version, method):
    version = trained_version(method)
    result = rebuild_version(library, version)
    assert result.is_identical
    assert result.weights_sha256 == version.content.weights_sha256
    assert result.different_files == result.environment_changes == ()
    assert not list(library.root.rglob(".rebuild*"))


def test_the_training_uses_the_recorded_number_of_threads(library, make_run, monkeypatch, one_thread):
    run = make_run()
    (run / "result.json").write_text('{"environment": {"threads": 3}}')
    version = add_run(library, "helper", run, reason="r").version
    threads = []

    def train(recipe, *, hooks):
        threads.append(torch.get_num_threads())
        raise UserError("the training fails")

    monkeypatch.setattr("turnwise.training.launch.run_recipe.run_recipe", train)
    with pytest.raises(UserError, match="the training fails"):
        rebuild_version(library, version)
    assert (threads, torch.get_num_threads()) == ([3], 1)
    assert not list(library.root.rglob(".rebuild*"))


@pytest.mark.slow
def test_what_a_killed_rebuild_leaves_can_be_pruned(library, make_run):
    version = add_run(library, "helper", make_run(), reason="r").version
    left = []

    def train(folder, out):
        left.extend(unrecorded_folders(library, "helper"))
        raise UserError("the training fails")

    with pytest.raises(UserError, match="the training fails"):
        rebuild_version(library, version, train=train)
    assert [folder.name.startswith(".rebuild.") for folder in left] == [True]


def test_the_files_and_programs_that_differ_are_named(library, trained_version):
    version = trained_version("full")
    folder = library.folder(version)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    values = json.loads((folder / "result.json").read_text())
    values["environment"]["torch"] = "1.0"
    (folder / "result.json").write_text(json.dumps(values))
    result = rebuild_version(library, version)
    assert result.is_identical, "the record is right, the folder is damaged"
    assert result.different_files == ("model.safetensors",)
    assert [line.split(" → ")[0] for line in result.environment_changes] == ["torch: 1.0"]


def test_changed_training_data_are_named_before_the_training(library, make_run):
    version = add_run(library, "helper", make_run(), reason="r").version
    folder = library.folder(version)
    (folder / "data" / "1-talks.jsonl").write_text("changed\n")
    with pytest.raises(UserError, match=r"data of helper@1 have changed .*: data/1-talks\.jsonl\.$"):
        rebuild_version(library, version)


def test_data_that_were_missing_at_the_start_are_named(library, make_run, tmp_path):
    run = make_run()
    (tmp_path / "talks.jsonl").unlink()
    version = add_run(library, "helper", run, reason="r").version
    with pytest.raises(UserError, match=r"talks\.jsonl was missing when the version was added"):
        rebuild_version(library, version)


def test_a_version_without_recipe_or_folder_cannot_be_trained_again(library, make_run):
    version = add_run(library, "helper", make_run(data=None), reason="r").version
    with pytest.raises(UserError, match="has no recipe"):
        rebuild_version(library, version)
    with pytest.raises(ModelNotFound, match="has no folder with training data"):
        rebuild_version(library, library.ensure_first("tiny"))
