"""Erased and pruned versions: which folders are deleted, and which never are."""

import pytest
from version_changes import MODEL, add, damage, promote

from turnwise.app.model_versions.prune import (
    delete_unrecorded,
    models_with_folders,
    prunable_model,
    prunable_versions,
    prune_versions,
    unrecorded_folders,
)
from turnwise.core.errors import (
    ModelNotFound,
    NotFound,
    SaveFailed,
    VersionConflict,
)
from turnwise.models.model_folders import weights_digest
from version_stand_ins import random_adapter


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
