"""Versions with their folders: the first version, verification and roll-back."""

import threading

import pytest
from version_changes import MODEL, add, damage, promote

from turnwise.app.model_names import resolve_model_folder
from turnwise.app.model_versions.base_versions import ensure_base, find_base
from turnwise.app.model_versions.version_library import served_model_name
from turnwise.app.model_versions.version_reference import required_reference
from turnwise.core.errors import (
    ModelNotFound,
    UserError,
    VersionConflict,
)
from turnwise.core.model_versions import NewVersion
from turnwise.models.bundled_models import bundled_model_folder
from version_stand_ins import random_adapter


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


def test_a_rollback_serves_verified_weights(library, make_run):
    first, second = (add(library, make_run(str(seed), seed=seed)) for seed in (1, 2))
    promote(library, second)
    assert library.roll_back(MODEL, actor="person", reason="Bad answers.").number == first.number
    with pytest.raises(VersionConflict, match="No version of helper served before"):
        library.roll_back(MODEL, actor="person", reason="r")


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
