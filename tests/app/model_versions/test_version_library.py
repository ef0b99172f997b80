"""Versions with their folders: adding, verification, references, roll-back, erasure and pruning."""

import signal
import subprocess
import sys
import threading

import pytest
import yaml

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_names import is_model_name, resolve_model_folder
from turnwise.app.model_versions.add_version import add_run
from turnwise.app.model_versions.base_versions import ensure_base, find_base
from turnwise.app.model_versions.prune import (
    delete_unrecorded,
    models_with_folders,
    prunable_model,
    prunable_versions,
    prune_versions,
    unrecorded_folders,
)
from turnwise.app.model_versions.training_snapshot import data_digests
from turnwise.app.model_versions.version_library import served_model_name
from turnwise.app.model_versions.version_reference import model_of_version_folder, parse_reference, required_reference
from turnwise.core.errors import (
    InvalidParameter,
    ModelNotFound,
    NotFound,
    SaveFailed,
    UserError,
    VersionConflict,
)
from turnwise.core.model_versions import NewVersion
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.models.model_folders import weights_digest
from version_stand_ins import random_adapter

MODEL = "helper"


def add(library, run, model=MODEL, **options):
    return add_run(library, model, run, reason="A training.", **options).version


def promote(library, version):
    return library.change_state(version, "serving", actor="person", reason="It is better.")


def damage(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


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


def test_the_first_version_is_the_bundled_model_itself(library, make_run):
    added = add(library, make_run(), model="tiny")
    assert added.reference == "turnwise-box@2"
    first = library.get(required_reference("turnwise-box@stable"))
    assert (first.number, first.state, first.content.source) == (1, "serving", "tiny")
    assert library.verified_folder(first) == bundled_model_folder("tiny")
    assert [path.name for path in (library.root / "turnwise-box").iterdir()] == ["2"]


def test_the_first_version_is_registered_on_first_use(library):
    assert library.get(required_reference("tiny@latest")).reference == "turnwise-box@1"
    assert library.ensure_first("turnwise-tiny").number == 1
    assert library.registry.models() == ["turnwise-box"]
    with pytest.raises(ModelNotFound, match="no bundled or pulled model"):
        library.ensure_first("nobody")


def test_a_model_folder_can_be_the_first_version(library, make_run):
    run = make_run()
    version = library.ensure_first(MODEL, str(run))
    assert library.verified_folder(version) == run
    library.registry.add(NewVersion(MODEL, f"{MODEL}/2", "d"), reason="r")
    promote_error = pytest.raises(ModelNotFound, match="folder of helper@2 is missing")
    with promote_error:
        promote(library, library.registry.get(MODEL, 2))
    assert run.exists()


def test_threads_that_use_a_model_first_register_it_once(library):
    threads = [threading.Thread(target=library.ensure_first, args=("tiny",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(library.registry.list("turnwise-box")) == 1


def test_bundled_models_have_one_name_for_their_versions():
    assert served_model_name("assistant") == served_model_name("turnwise-assistant") == "turnwise-assistant"
    assert served_model_name("tiny") == served_model_name("box") == "turnwise-box"
    assert served_model_name("mine") == "mine"


def test_changed_weights_are_never_used(library, make_run):
    first = add(library, make_run("one"))
    second = add(library, make_run("two", seed=2))
    promote(library, second)
    damage(library.folder(first))
    with pytest.raises(UserError, match="not those of helper@1"):
        library.roll_back(MODEL, actor="person", reason="r")
    with pytest.raises(UserError, match="not those of helper@1"):
        library.erase(second, reason="r")
    with pytest.raises(UserError, match="not those of helper@1"):
        promote(library, first)
    with pytest.raises(UserError, match="damaged or were changed"):
        resolve_model_folder(f"{MODEL}@1")
    assert library.registry.routing(MODEL).serving.number == 2
    assert library.folder(second).is_dir()


@pytest.mark.costly
def test_commands_accept_references(library, make_run, tmp_path):
    for seed in (1, 2, 3):
        add(library, make_run(str(seed), seed=seed))
    promote(library, library.get(required_reference(f"{MODEL}@2")))
    folder = library.root / MODEL
    assert resolve_model_folder(f"{MODEL}@1") == folder / "1"
    assert resolve_model_folder(f"{MODEL}@stable") == folder / "2"
    assert resolve_model_folder(f"{MODEL}@latest") == folder / "3"
    assert is_model_name(f"{MODEL}@3")
    assert resolve_model_folder("tiny@stable") == bundled_model_folder("tiny")
    for name, message in [
        (f"{MODEL}@9", "no version 9 of helper"), ("nobody@1", "nobody has no versions. Models with versions: helper"),
        (f"{MODEL}@newest", "no model folder helper@newest"),
    ]:  # fmt: skip
        with pytest.raises(ModelNotFound, match=message):
            resolve_model_folder(name)
    (tmp_path / f"{MODEL}@1").symlink_to(folder / "3")
    assert str(resolve_model_folder(f"{MODEL}@1")) == f"{MODEL}@1", "a path comes first, as for names of the store"


def test_a_bundled_adapter_as_a_version_says_what_to_pull():
    with pytest.raises(ModelNotFound, match="turnwise models pull smollm2"):
        resolve_model_folder("assistant@stable")


@pytest.mark.parametrize("text", ["m", "m@", "m@0", "m@01", "m@stable ", "hf:a/b@1", "a/b@1", "@1", "m@1@2", "m@-1"])
def test_other_names_are_no_references(text):
    assert parse_reference(text) is None
    with pytest.raises(InvalidParameter, match="NAME@NUMBER"):
        required_reference(text)


@pytest.mark.costly
def test_a_version_is_served_by_the_name_of_its_model(library, make_run):
    add(library, make_run())
    with open_chat_service(f"{MODEL}@1") as service:
        assert service.name == MODEL


def test_a_rollback_serves_verified_weights(library, make_run):
    first, second = (add(library, make_run(str(seed), seed=seed)) for seed in (1, 2))
    promote(library, second)
    assert library.roll_back(MODEL, actor="person", reason="Bad answers.").number == first.number
    with pytest.raises(VersionConflict, match="No version of helper served before"):
        library.roll_back(MODEL, actor="person", reason="r")


def test_erasure_deletes_weights_and_data(library, make_run):
    first, second = (add(library, make_run(str(seed), seed=seed)) for seed in (1, 2))
    promote(library, second)
    erased = library.erase(library.registry.get(MODEL, 2), reason="A person withdrew consent.")
    assert erased.is_erased
    assert not (library.root / MODEL / "2").exists()
    assert library.registry.routing(MODEL).serving.number == first.number
    with pytest.raises(ModelNotFound, match="weights of helper@2 are deleted"):
        library.folder(erased)
    with pytest.raises(VersionConflict, match="serves"):
        library.erase(library.registry.get(MODEL, 1), reason="r")
    assert library.folder(first).is_dir()


def test_an_interrupted_erasure_is_completed_by_the_next_one(library, make_run, monkeypatch):
    for seed in (1, 2):
        add(library, make_run(str(seed), seed=seed))

    def fail(folder):
        raise OSError(13, "Permission denied", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr("turnwise.app.model_versions.version_library.shutil.rmtree", fail)
        with pytest.raises(SaveFailed, match=r"is retired, but .* could not be deleted"):
            library.erase(library.registry.get(MODEL, 2), reason="r")
    assert library.registry.get(MODEL, 2).is_erased
    assert (library.root / MODEL / "2").exists()
    assert [version.number for version in prune_versions(library, MODEL, keep=9)] == [2]
    assert not (library.root / MODEL / "2").exists()


def test_models_that_are_not_copied_are_never_deleted(library, make_run):
    run = make_run()
    library.ensure_first(MODEL, str(run))
    promote(library, add(library, make_run("two", seed=2)))
    assert prune_versions(library, MODEL, keep=0) == []
    library.erase(library.registry.get(MODEL, 1), reason="r")
    assert weights_digest(run)
    assert (run / "model.safetensors").is_file()


@pytest.mark.costly
def test_pruning_retains_what_rollbacks_need_and_what_is_in_use(library, make_run):
    for seed in range(1, 8):
        add(library, make_run(str(seed), seed=seed))
    for number in (2, 3, 4):
        promote(library, library.registry.get(MODEL, number))
    for number in (5, 6):
        library.registry.change_state(MODEL, number, "retired", actor="person", reason="Not better.")
    # serving: 4; a roll-back passes 3, 2, 1; retired without having served: 5, 6; candidate: 7
    assert [version.number for version in prunable_versions(library, MODEL, keep=5)] == []
    assert [version.number for version in prunable_versions(library, MODEL, keep=3)] == [5, 6]
    assert [version.number for version in prunable_versions(library, MODEL, keep=1)] == [1, 2, 5, 6]
    assert [version.number for version in prune_versions(library, MODEL, keep=2)] == [1, 5, 6]
    assert sorted(path.name for path in (library.root / MODEL).iterdir()) == ["2", "3", "4", "7"]
    assert library.roll_back(MODEL, actor="person", reason="r").number == 3
    assert library.roll_back(MODEL, actor="person", reason="r").number == 2
    with pytest.raises(VersionConflict):
        library.roll_back(MODEL, actor="person", reason="r")
    assert "Pruned" in library.registry.events(MODEL)[-5].reason


@pytest.mark.costly
def test_the_base_model_of_an_adapter_is_not_pruned(library, make_run, tmp_path):
    for seed in (1, 2, 3):
        add(library, make_run(str(seed), seed=seed))
    adapter = random_adapter(tmp_path / "adapter", library.root / MODEL / "2", seed=1)
    promote(library, add(library, adapter))
    for number in (2, 3):
        library.registry.change_state(MODEL, number, "retired", actor="person", reason="r")
    assert [version.number for version in prune_versions(library, MODEL, keep=0)] == [1, 3]
    assert library.verified_folder(library.registry.get(MODEL, 4)).is_dir()


@pytest.mark.costly
def test_an_adapter_without_its_base_model_is_not_promoted(library, make_run, tmp_path):
    for seed in (1, 2):
        add(library, make_run(str(seed), seed=seed))
    version = add(library, random_adapter(tmp_path / "adapter", library.root / MODEL / "2", seed=1))
    damage(library.root / MODEL / "2")
    with pytest.raises(UserError, match="its base has changed since"):
        promote(library, version)
    library.erase(library.registry.get(MODEL, 2), reason="r")
    with pytest.raises(ModelNotFound, match="which does not exist"):
        promote(library, version)
    assert library.registry.get(MODEL, 3).state == "candidate"


@pytest.mark.parametrize("name", ["../helper", "a/b", "", ".", "a b", "a" * 101])
def test_a_name_that_cannot_have_versions_is_rejected_before_anything_is_written(library, make_run, name):
    run = make_run()
    with pytest.raises(InvalidParameter, match="cannot have versions"):
        add(library, run, model=name)
    assert not library.root.exists()


def test_a_bundled_model_that_an_update_has_replaced_becomes_a_version_that_serves(library):
    content = NewVersion("turnwise-box", "tiny", "the digest of an older release")
    first = library.registry.add(content, reason="r")
    assert find_base(library, "tiny") is None
    with pytest.raises(UserError, match="`turnwise serve` and `turnwise improve` register the new ones"):
        library.verified_folder(first)
    base = ensure_base(library, "tiny")
    assert (base.reference, base.state, base.content.source) == ("turnwise-box@2", "serving", "tiny")
    assert library.verified_folder(base) == bundled_model_folder("tiny")
    assert ensure_base(library, "tiny") == find_base(library, "tiny") == base


def test_threads_that_see_an_update_register_it_once(library):
    library.registry.add(NewVersion("turnwise-box", "tiny", "the digest of an older release"), reason="r")
    threads = [threading.Thread(target=ensure_base, args=(library, "tiny")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version.state for version in library.registry.list("turnwise-box")] == ["retired", "serving"]


def test_the_base_of_a_model_of_ones_own_is_its_first_version_with_weights(library, make_run):
    for seed in (1, 2):
        add(library, make_run(str(seed), seed=seed))
    assert ensure_base(library, MODEL).number == 1
    library.erase(library.registry.get(MODEL, 1), reason="r", may_end_service=True)
    assert ensure_base(library, MODEL).number == 2
    library.erase(library.registry.get(MODEL, 2), reason="r")
    with pytest.raises(ModelNotFound, match="weights of all versions of helper are deleted"):
        ensure_base(library, MODEL)


def test_an_erased_version_gives_way_to_the_last_one_that_can_be_loaded(library, make_run):
    for seed in (1, 2, 3):
        add(library, make_run(str(seed), seed=seed))
    for number in (2, 3):
        promote(library, library.registry.get(MODEL, number))
    damage(library.root / MODEL / "2")
    library.erase(library.registry.get(MODEL, 3), reason="A person withdrew consent.")
    assert library.registry.routing(MODEL).serving.number == 1


def test_what_killed_processes_have_left_can_be_deleted(library, make_run):
    version = add(library, make_run())
    left = [library.root / MODEL / name for name in (".2.abc.part", "2")]
    for folder in left:
        (folder / "data").mkdir(parents=True)
    assert unrecorded_folders(library, MODEL) == left
    assert delete_unrecorded(library, MODEL) == left
    assert library.verified_folder(version).is_dir()
    assert unrecorded_folders(library, MODEL) == unrecorded_folders(library, "nobody") == []


def test_what_a_process_has_left_that_was_killed_before_the_first_version_can_be_deleted(library):
    left = library.root / "new" / "1"
    left.mkdir(parents=True)
    assert models_with_folders(library) == ["new"]
    assert prunable_model(library, "new") == "new"
    assert delete_unrecorded(library, "new") == [left]
    with pytest.raises(NotFound, match="new has no versions"):
        prunable_model(library, "new")


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
