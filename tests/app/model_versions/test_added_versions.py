"""A training run becomes a version, with copies of its data."""

import signal
import subprocess
import sys

import pytest
import yaml
from version_changes import MODEL, add

from turnwise.app.model_versions.add_version import add_run
from turnwise.app.model_versions.prune import (
    models_with_folders,
)
from turnwise.app.model_versions.training_snapshot import data_digests
from turnwise.app.model_versions.version_reference import model_of_version_folder
from turnwise.core.errors import (
    InvalidParameter,
    ModelNotFound,
    NotFound,
    UserError,
)
from turnwise.models.model_folders import weights_digest


def test_a_run_becomes_a_version_with_copies_of_its_data(library, make_run, tmp_path, home):
    run = make_run(text='{"messages": [1]}\n')
    version = add(library, run, contributors=("local",), scorecard={"win_rate": 0.6}, has_passed_gate=True)
    folder = home / "versions" / MODEL / "1"
    assert library.verified_folder(version) == folder
    assert version.content.weights_sha256 == weights_digest(run)
    assert version.content.contributors == ("local",)
    assert version.content.data_sha256.keys() == {"data/1-talks.jsonl"}
    assert (folder / "data" / "1-talks.jsonl").read_text() == '{"messages": [1]}\n'
    recipe = yaml.safe_load(version.content.recipe)
    assert recipe["data"]["train"][0]["path"] == "data/1-talks.jsonl"
    assert yaml.safe_load((folder / "recipe.yaml").read_text()) == recipe
    assert folder.stat().st_mode & 0o077 == 0, "training data may be personal"
    assert yaml.safe_load((run / "recipe.yaml").read_text())["data"]["train"][0]["path"] == "talks.jsonl"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["1"]


def test_a_moved_run_is_gone_and_complete(library, make_run):
    run = make_run()
    names = {path.name for path in run.iterdir()}
    digest = weights_digest(run)
    version = add(library, run, move=True)
    folder = library.verified_folder(version)
    assert not run.exists()
    assert {path.name for path in folder.iterdir()} == names | {"data"}
    assert version.content.weights_sha256 == digest
    assert all(path.stat().st_nlink == 1 for path in folder.iterdir() if path.is_file())


def test_data_in_the_folder_of_the_run_come_before_those_in_the_working_directory(library, make_run):
    run = make_run(text="outside\n")
    (run / "talks.jsonl").write_text("inside\n")
    folder = library.folder(add(library, run))
    assert (folder / "data" / "1-talks.jsonl").read_text() == "inside\n"


def test_data_that_are_gone_are_reported(library, make_run, tmp_path):
    run = make_run()
    (tmp_path / "talks.jsonl").unlink()
    added = add_run(library, MODEL, run, reason="r")
    assert added.missing_data == ("talks.jsonl",)
    assert added.version.content.data_sha256 == {}


def test_a_folder_without_recipe_can_be_a_version(library, make_run):
    content = add(library, make_run(data=None)).content
    assert (content.recipe, content.data_sha256) == ("", {})


def test_the_parent_is_the_version_that_the_recipe_starts_from(library, make_run):
    first = add(library, make_run("one"))
    second = add(library, make_run("two", seed=2, **{"from": str(library.folder(first))}))
    assert (first.content.parent, second.content.parent) == (None, 1)
    assert add(library, make_run("three", seed=3), parent=2).content.parent == 2


def test_the_people_behind_the_parent_are_those_of_its_children_too(library, make_run):
    add(library, make_run("one"))
    second = add(library, make_run("two", seed=2), contributors=("bob", "ann"))
    run = make_run("three", seed=3, **{"from": str(library.folder(second))})
    assert add(library, run, contributors=("eve", "ann")).content.contributors == ("ann", "bob", "eve")
    assert add(library, make_run("four", seed=4), parent=1).content.contributors == ()


def test_what_is_no_model_is_refused(library, tmp_path, make_run):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFound, match="holds no model"):
        add(library, tmp_path / "empty")
    run = make_run()
    (run / "recipe.yaml").write_text("data: 3\n")
    with pytest.raises(UserError, match="not the recipe of a training run"):
        add(library, run)
    (run / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match="holds no weights"):
        add(library, run)
    assert library.registry.models() == []
    assert not list(library.root.glob("*/*"))


def test_a_record_that_cannot_be_written_leaves_no_folder(library, make_run):
    with pytest.raises(NotFound, match="no version 9"):
        add(library, make_run(), parent=9)
    assert not list(library.root.glob("*/*"))


def test_a_folder_that_a_killed_process_has_left_is_not_overwritten(library, make_run):
    left = library.root / MODEL / "1"
    left.mkdir(parents=True)
    (left / "weights").write_text("of somebody")
    version = add(library, make_run())
    assert version.content.source == f"{MODEL}/1-2"
    assert library.verified_folder(version).name == "1-2"
    assert (left / "weights").read_text() == "of somebody"


@pytest.mark.parametrize("name", ["../helper", "a/b", "", ".", "a b", "a" * 101])
def test_a_name_that_cannot_have_versions_is_rejected_before_anything_is_written(library, make_run, name):
    run = make_run()
    with pytest.raises(InvalidParameter, match="cannot have versions"):
        add(library, run, model=name)
    assert not library.root.exists()


def test_models_whose_names_differ_by_case_have_folders_of_their_own(library, make_run):
    """Some file systems ignore case."""
    versions = [add(library, make_run(name, data=None), model=name) for name in ("shop", "Shop")]
    assert [library.folder(version).relative_to(library.root).as_posix() for version in versions] == [
        "shop/1", "+shop/1"
    ]  # fmt: skip
    assert model_of_version_folder(library.folder(versions[1])) == "Shop"
    assert models_with_folders(library) == ["Shop", "shop"]


ADDER = """
import sys
from pathlib import Path
from turnwise.app.model_versions.add_version import add_run
from turnwise.app.model_versions.version_library import open_version_library

with open_version_library() as library:
    while True:
        print(add_run(library, "helper", Path(sys.argv[1]), reason="r").version.number, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_complete_versions_only(library, make_run):
    run, acknowledged = make_run(), 0
    for seed in range(5):
        with subprocess.Popen([sys.executable, "-c", ADDER, run], stdout=subprocess.PIPE, text=True) as process:
            lines = [process.stdout.readline() for _ in range(1 + seed % 3)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().split()
        acknowledged = max(acknowledged, *map(int, lines))
        versions = library.registry.list(MODEL)
        assert len(versions) >= acknowledged >= seed + 1
        for version in versions:
            assert library.verified_folder(version).is_dir()
            assert data_digests(library.folder(version)) == version.content.data_sha256
