"""The models of a server are opened with their versions, also with those that are added while it runs."""

import asyncio
import shutil
import threading
from contextlib import ExitStack, contextmanager

import pytest

from turnwise.app.model_versions.add_version import add_run
from turnwise.app.model_versions.base_versions import ensure_base
from turnwise.app.model_versions.version_library import open_version_library
from turnwise.app.model_versions.version_reference import required_reference
from turnwise.app.scenario_services import ServicePath, open_resources
from turnwise.app.version_serving.model_opener import ModelOpener
from turnwise.app.version_serving.version_adopter import VersionAdopter
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter, NotFound, UserError
from turnwise.core.messages import Message
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.testing import ScriptedChatService
from version_stand_ins import random_adapter

pytestmark = pytest.mark.costly
HELLO = ChatRequest(messages=(Message("user", "Hello"),))
MODEL = "turnwise-box"


@pytest.fixture(autouse=True)
def new_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))


@pytest.fixture
def library():
    with open_version_library() as library:
        yield library


@pytest.fixture
def run(tmp_path):
    return random_adapter(tmp_path / "run", bundled_model_folder(), seed=1)


@contextmanager
def open_scripted(folder, name, version):
    """A service that says which version it is."""
    yield ScriptedChatService([folder.name if version is None else version.reference], name=name)


@pytest.fixture
def open_models():
    """`open_models(*models)`: the opener and the path."""
    with ExitStack() as stack:

        def open_all(*models, uses_versions=True):
            opener = ModelOpener(stack, open_scripted, uses_versions=uses_versions)
            path = ServicePath(ScenarioLibrary([]), open_resources(None), opener.models)
            for model, name in models:
                opener.open(model, name, path)
            return opener, path, stack

        yield open_all


def text(service):
    return asyncio.run(service.reply(HELLO)).text


def test_without_a_registry_a_model_answers_as_it_is_and_no_registry_is_created(open_models, tmp_path):
    opener, *_ = open_models((str(bundled_model_folder()), None))
    assert text(opener.services[MODEL]) == "box"
    assert opener.supervisors == {}
    assert not (tmp_path / "home" / "versions.db").exists()
    with pytest.raises(NotFound):
        opener.control.roll_back(MODEL, reason="A test.")


def test_the_version_that_serves_answers_for_the_model(open_models, library, run):
    add_run(library, MODEL, run, reason="A test.", has_passed_gate=True)
    opener, *_ = open_models((str(bundled_model_folder()), None))
    assert text(opener.services[MODEL]) == f"{MODEL}@1"
    assert text(opener.models[MODEL]) == f"{MODEL}@1"
    changed = opener.control.change_state(MODEL, 2, "serving", reason="A test.")
    assert changed.state == "serving"
    for _ in range(1000):
        if text(opener.services[MODEL]) == f"{MODEL}@2":
            break
        threading.Event().wait(0.01)
    assert text(opener.services[MODEL]) == f"{MODEL}@2"


def test_a_reference_is_that_version_for_good(open_models, library, run):
    add_run(library, MODEL, run, reason="A test.")
    opener, *_ = open_models((f"{MODEL}@2", None))
    assert text(opener.services[MODEL]) == f"{MODEL}@2"
    assert opener.supervisors == {}


def test_versions_can_be_left_out(open_models, library, run):
    add_run(library, MODEL, run, reason="A test.")
    opener, path, stack = open_models((str(bundled_model_folder()), None), uses_versions=False)
    assert text(opener.services[MODEL]) == "box"
    assert opener.control is None
    opener.adopt_versions(stack, path)
    assert text(opener.services[MODEL]) == "box"


def test_without_versions_a_damaged_registry_does_not_matter(open_models, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "versions.db").write_bytes(b"no database")
    opener, path, stack = open_models((str(bundled_model_folder()), None), uses_versions=False)
    opener.adopt_versions(stack, path)
    assert text(opener.services[MODEL]) == "box"


def test_a_model_whose_weights_were_changed_is_neither_served_nor_promoted(open_models, library, run):
    version = add_run(library, MODEL, run, reason="A test.", has_passed_gate=True).version
    opener, *_ = open_models((str(bundled_model_folder()), None))
    weights = library.folder(version) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"1234")
    with pytest.raises(UserError, match="damaged or were changed"):
        opener.control.change_state(MODEL, 2, "serving", reason="A test.")
    assert library.registry.get(MODEL, 2).state == "candidate"


def test_a_folder_that_is_no_version_of_its_name_is_reported(open_models, library, run):
    add_run(library, "mine", run, reason="A test.")
    opener, *_ = open_models((str(bundled_model_folder()), "mine"))
    assert text(opener.services["mine"]) == "mine@1"
    assert opener.ignored == {"mine": bundled_model_folder()}
    opener, *_ = open_models((str(run), "mine"))
    assert opener.ignored == {}


def test_two_models_cannot_have_one_name(open_models):
    with pytest.raises(InvalidParameter, match="Two models have the name 'mine'"):
        open_models((str(bundled_model_folder()), "mine"), (str(bundled_model_folder()), "mine"))


def test_versions_that_are_added_later_are_used_without_a_restart(open_models, run):
    opener, path, _ = open_models((str(bundled_model_folder()), None))
    with VersionAdopter(opener, path, poll_seconds=0.01):
        before = opener.services[MODEL]
        with open_version_library() as library:
            add_run(library, MODEL, run, reason="A test.", has_passed_gate=True)
            for _ in range(1000):
                if MODEL in opener.supervisors:
                    break
                threading.Event().wait(0.01)
        assert text(opener.services[MODEL]) == f"{MODEL}@1"
        assert text(before) == "box"  # requests that have begun go on


def test_versions_that_cannot_be_loaded_do_not_stop_those_of_other_models(open_models, library, run):
    opener, path, stack = open_models((str(bundled_model_folder()), "a"), (str(bundled_model_folder()), "b"))
    for name in ("a", "b"):
        add_run(library, name, run, reason="A test.")
    weights = library.root / "a" / "1" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"1234")
    with pytest.raises(UserError, match="not those of a@1"):
        opener.adopt_versions(stack, path)
    assert (text(opener.services["a"]), text(opener.services["b"])) == ("box", "b@1")


@pytest.fixture
def pulled(tmp_path):
    """`pulled(seed)`: the folder of the pulled model "mini", with other weights for each seed."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "home" / "models" / "mini"

    def pull(seed):
        if not folder.is_dir():
            shutil.copytree(bundled_model_folder(), folder)
            (folder / "source.json").write_text("{}")
        tensors = load_file(folder / "model.safetensors")
        tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"], seed)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return pull


class TestUpdatesOfTheBaseModel:
    """The package is updated, or a model is pulled again: the weights of the first version are gone."""

    @pytest.fixture
    def updated(self, library, pulled, tmp_path):
        """A model with an adapter that serves, and then other weights of its base model."""
        folder = pulled(1)
        library.ensure_first("mini")
        adapter = add_run(library, "mini", random_adapter(tmp_path / "adapter", folder, seed=1), reason="Trained.")
        library.change_state(adapter.version, "serving", actor="person", reason="Better.")
        return pulled(2)

    def test_the_new_weights_are_a_version_that_serves(self, open_models, library, updated):
        opener, *_ = open_models((str(updated), None))
        assert text(opener.services["mini"]) == "mini@3"
        assert [version.state for version in library.registry.list("mini")] == ["retired", "retired", "serving"]
        added, _, promoted = library.registry.events("mini")[-3:]
        assert (added.actor, added.reason) == (
            "update", "The model mini was updated: its weights are others than those of the versions before.",
        )  # fmt: skip
        assert (promoted.actor, promoted.reason) == (
            "update", "mini@2 cannot be loaded since the model mini was updated.",
        )  # fmt: skip
        assert ensure_base(library, "mini").number == 3
        open_models((str(updated), None))
        assert library.registry.revision() == promoted.number, "an update is registered once"

    def test_a_version_with_weights_of_its_own_goes_on_serving(self, open_models, library, pulled, tmp_path):
        shutil.copytree(pulled(1), tmp_path / "full")
        full = add_run(library, "mini", tmp_path / "full", reason="Trained.").version
        library.change_state(full, "serving", actor="person", reason="Better.")
        opener, *_ = open_models((str(pulled(2)), None))
        assert text(opener.services["mini"]) == "mini@2"
        assert (ensure_base(library, "mini").number, library.registry.get("mini", 3).state) == (3, "candidate")

    def test_the_old_weights_are_the_version_that_they_were(self, open_models, library, updated, pulled):
        """The update is taken back: the versions that were trained from the old weights can be loaded again."""
        open_models((str(updated), None))
        revision = library.registry.revision()
        opener, *_ = open_models((str(pulled(1)), None))
        assert text(opener.services["mini"]) == "mini@2"
        assert library.registry.revision() == revision
        assert ensure_base(library, "mini").number == 1


def test_a_damaged_version_gives_way_to_the_one_before_and_the_registry_stays_as_it_is(
    open_models, library, run, caplog
):
    version = add_run(library, MODEL, run, reason="A test.").version
    library.change_state(version, "serving", actor="person", reason="Better.")
    shutil.rmtree(library.folder(version))
    revision = library.registry.revision()
    opener, *_ = open_models((str(bundled_model_folder()), None))
    assert text(opener.services[MODEL]) == f"{MODEL}@1"
    assert library.registry.revision() == revision
    assert [record.getMessage().split(".")[0] for record in caplog.records if record.levelname == "WARNING"] == [
        f"{MODEL}@2 serves but cannot be loaded, so {MODEL}@1 answers until another version is promoted"
    ]


def test_a_model_without_a_serving_version_is_not_served(open_models, library, run):
    """Its folder may hold what was learned from data that were erased."""
    version = add_run(library, "mine", run, reason="A test.").version
    library.erase(version, reason="A test.", may_end_service=True)
    with pytest.raises(NotFound, match="No version of mine serves: the last one was deleted"):
        open_models((str(run), "mine"))
    with pytest.raises(NotFound, match="No version of mine serves"):
        library.get(required_reference("mine@stable"))


def test_a_registry_that_cannot_be_read_is_reported_once_and_changes_nothing(open_models, tmp_path, caplog):
    opener, path, _ = open_models((str(bundled_model_folder()), None))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "versions.db").write_bytes(b"no database")
    adopter = VersionAdopter(opener, path, poll_seconds=0.001)
    with adopter:
        for _ in range(1000):
            if caplog.records:
                break
            threading.Event().wait(0.01)
        threading.Event().wait(0.05)
    assert len([record for record in caplog.records if "the models stay as they are" in record.getMessage()]) == 1
    assert text(opener.services[MODEL]) == "box"
