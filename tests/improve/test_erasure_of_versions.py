"""What was trained on a person's data is deleted with the person, and nothing else."""

import json
import shutil

import pytest
from feedback_samples import shop_corrections

from turnwise.app.model_versions.version_library import open_version_library
from turnwise.core.data_subjects import DataSubject
from turnwise.core.directory_lock import lock_directory
from turnwise.core.errors import Unavailable
from turnwise.core.model_versions import NewVersion
from turnwise.core.settings import Settings
from turnwise.improve import erasure
from turnwise.improve.cycle_folder import EXAMPLES_FILE, CycleFolders
from turnwise.improve.example_file import write_examples
from turnwise.improve.training_examples import training_examples
from turnwise.models.bundled_models import bundled_model_folder
from turnwise.models.model_folders import weights_digest

MODEL, ADA = "shop", "key:ada"
SECRET = "My cat is called Xerxes-4711."


@pytest.fixture
def library(tmp_path, monkeypatch, model_folder):
    """A model with a first version, one trained on Ada's data, one trained on those of others, and one on both."""
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path))
    with open_version_library() as library:
        library.ensure_first(MODEL, str(model_folder))
        for number, people in ((2, (ADA,)), (3, ("key:bob",)), (4, (ADA, "key:bob"))):
            folder = Settings.from_environment().versions / MODEL / str(number)
            shutil.copytree(model_folder, folder)
            (folder / "data").mkdir()
            (folder / "data" / "corrections.jsonl").write_text(SECRET, encoding="utf-8")
            content = NewVersion(
                MODEL, f"{MODEL}/{number}", weights_digest(folder), parent=1, contributors=people, has_passed_gate=True
            )
            library.change_state(
                library.registry.add(content, reason="Trained."), "serving", actor="gate", reason="Better."
            )
        yield library


def states(library):
    return {version.number: (version.state, version.is_erased) for version in library.registry.list(MODEL)}


def test_versions_of_the_person_are_deleted_and_the_last_one_without_serves(library):
    assert erasure.erase(DataSubject("ada"), None)["versions"] == 2
    assert states(library) == {
        1: ("retired", False), 2: ("retired", True), 3: ("serving", False), 4: ("retired", True)
    }  # fmt: skip
    assert sorted(path.name for path in (Settings.from_environment().versions / MODEL).iterdir()) == ["3"]


def test_a_user_of_a_key_is_not_the_whole_key(library):
    assert erasure.erase(DataSubject("ada", "eve"), None)["versions"] == 0
    assert states(library)[4] == ("serving", False)


def test_an_export_names_the_versions(library):
    assert erasure.export(DataSubject("ada"), None) == ["shop@2", "shop@4"]


def test_files_of_cycles_are_deleted_but_not_their_journal(library):
    folders = CycleFolders(MODEL)
    journals = [folders.create(model=MODEL, started=0.0) for _ in range(2)]
    for journal, person in zip(journals, (ADA, "key:bob"), strict=True):
        write_examples(journal.folder / EXAMPLES_FILE, training_examples(shop_corrections(3, person=person)))
        (journal.folder / "model-data").mkdir()
        (journal.folder / "model-data" / "corrections.jsonl").write_text(SECRET, encoding="utf-8")
    assert erasure.erase(DataSubject("ada"), None)["cycles of training"] == 1
    assert [path.name for path in journals[0].folder.iterdir()] == ["cycle.json"]
    assert json.loads((journals[0].folder / "cycle.json").read_text())["outcome"] == "erased"
    assert (journals[1].folder / "model-data").is_dir()


def test_an_interrupted_erasure_is_completed_by_the_next_one(library, monkeypatch):
    original, calls = shutil.rmtree, []

    def interrupted(path, *args, **kwargs):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            erasure.erase(DataSubject("ada"), None)
    assert erasure.erase(DataSubject("ada"), None)["versions"] == 1
    files = list(Settings.from_environment().versions.rglob("*.jsonl"))
    assert [path.parts[-3] for path in files] == ["3"]


def test_nothing_is_erased_under_a_running_cycle(library):
    """It holds the examples in memory, and would write them again."""
    with (
        lock_directory(CycleFolders(MODEL).root),
        pytest.raises(Unavailable, match="shop is being improved: stop `turnwise improve`"),
    ):
        erasure.erase(DataSubject("ada"), None)
    assert not any(is_erased for _, is_erased in states(library).values())
    assert erasure.erase(DataSubject("ada"), None)["versions"] == 2


def test_no_file_names_the_person_afterwards(library):
    erasure.erase(DataSubject("ada"), None)
    files = [path for path in Settings.from_environment().home.rglob("*") if path.is_file()]
    assert not [path for path in files if ADA.encode() in path.read_bytes()]


class TestModelsThatWereTrainedOnThePersonOnly:
    """No version that served before was trained without the person's data, or none can be loaded."""

    @pytest.fixture
    def add_trained(self, library, model_folder):
        """`add_trained(model)`: a version that Ada's data are part of; the first one of a model serves."""

        def add(model):
            number = len(library.registry.list(model)) + 1
            folder = library.model_folder(model) / str(number)
            shutil.copytree(model_folder, folder)
            (folder / "data").mkdir()
            (folder / "data" / "corrections.jsonl").write_text(SECRET, encoding="utf-8")
            source = folder.relative_to(library.root).as_posix()
            content = NewVersion(model, source, weights_digest(folder), contributors=(ADA,), has_passed_gate=True)
            return library.registry.add(content, reason="Trained.")

        return add

    def test_the_model_serves_no_more_and_everything_else_is_erased(self, library, add_trained, caplog):
        for _ in range(2):
            add_trained("ada-only")
        counts = erasure.erase(DataSubject("ada"), None)
        assert (counts["versions"], counts["models without a version that serves"]) == (4, 1)
        assert library.registry.routing("ada-only") is None
        assert states(library)[3] == ("serving", False)
        assert "No version of ada-only serves" in caplog.text
        assert erasure.erase(DataSubject("ada"), None)["versions"] == 0
        assert_nothing_is_left()

    def test_a_bundled_model_goes_back_to_the_bundled_weights(self, library, add_trained):
        """Also if they are not those of the first version any more."""
        library.registry.add(NewVersion("turnwise-box", "tiny", "the digest of an older release"), reason="r")
        library.registry.change_state(
            "turnwise-box", add_trained("turnwise-box").number, "serving", actor="gate", reason="r"
        )
        counts = erasure.erase(DataSubject("ada"), None)
        assert counts["models without a version that serves"] == 0
        serving = library.registry.routing("turnwise-box").serving
        assert (serving.number, serving.content.source) == (3, "tiny")
        assert library.verified_folder(serving) == bundled_model_folder("tiny")
        assert_nothing_is_left()

    def test_a_damaged_version_before_does_not_stop_the_erasure(self, library, add_trained):
        (library.root / MODEL / "3" / "model.safetensors").write_bytes(b"damaged")
        erasure.erase(DataSubject("ada"), None)
        assert states(library) == {
            1: ("serving", False), 2: ("retired", True), 3: ("retired", False), 4: ("retired", True)
        }  # fmt: skip


def assert_nothing_is_left():
    files = [path for path in Settings.from_environment().home.rglob("*") if path.is_file()]
    assert not [path for path in files if ADA.encode() in path.read_bytes()]
    assert {path.parts[-3] for path in files if SECRET.encode() in path.read_bytes()} <= {"3"}, "that is Bob's"


@pytest.mark.parametrize("folder", [f"{MODEL}/5", f"{MODEL}/.5.abc.part", "never-added/1"])
def test_folders_that_killed_processes_have_left_are_deleted(library, folder):
    """Between the folder and its record; whose data it holds is not recorded."""
    data = library.root / folder / "data"
    data.mkdir(parents=True)
    (data / "corrections.jsonl").write_text(SECRET, encoding="utf-8")
    assert erasure.erase(DataSubject("ada"), None)["folders without a version"] == 1
    assert not data.exists()
    assert library.verified_folder(library.registry.get(MODEL, 3)).is_dir()


def test_cycles_of_a_model_without_versions_and_unfinished_files_are_erased(library):
    journal = CycleFolders("gone").create(model="gone", started=0.0)
    write_examples(journal.folder / EXAMPLES_FILE, training_examples(shop_corrections(3, person=ADA)))
    part = CycleFolders(MODEL).create(model=MODEL, started=0.0).folder / ".model-data.abc.part"
    part.mkdir()
    (part / "corrections.jsonl").write_text(SECRET, encoding="utf-8")
    assert erasure.erase(DataSubject("ada"), None)["cycles of training"] == 1
    assert not part.exists()
    assert [path.name for path in journal.folder.iterdir()] == ["cycle.json"]
