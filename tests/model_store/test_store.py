"""The store: damaged entries, and what `remove` deletes."""

import pytest

from turnwise.app.model_store.model_list import describe, list_all
from turnwise.app.model_store.pull import plan_pull
from turnwise.app.model_store.store import ModelStore
from turnwise.app.model_store.stored_model import DamagedModel
from turnwise.core.errors import ModelNotFound
from turnwise.models.model_folders import find_model_folder


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    return ModelStore()


def add(store, path, **options):
    return plan_pull(str(path), **options).run(store, lambda *_: None)[0]


@pytest.fixture
def damaged(store, tmp_path, request):
    """The path of a GGUF file, and its folder in the store with a `source.json` that cannot be read."""
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    folder = add(store, tmp_path / "mine.gguf")
    (folder / "source.json").write_bytes(request.param)
    return tmp_path / "mine.gguf", folder


DAMAGES = pytest.mark.parametrize(
    "damaged", [b"", b"[]", b"\xff", b'{"name": "mine", "kind": "of a later version"}'], indirect=True
)


@DAMAGES
def test_a_damaged_entry_is_listed(store, damaged):
    assert [model["status"] for model in list_all(store) if model["name"] == "mine"] == ["damaged"]
    with pytest.raises(DamagedModel, match="or remove it: turnwise models remove mine"):
        describe("mine", store)


@DAMAGES
def test_a_damaged_entry_can_be_removed_or_pulled_again(store, damaged):
    path, folder = damaged
    assert add(store, path) == folder
    assert store.get("mine").source == str(path)
    (folder / "source.json").write_text("")
    store.remove("mine")
    assert not folder.exists()


def test_remove_deletes_an_incomplete_pull(store):
    work = store.root / ".mine.pull"
    (work / "model").mkdir(parents=True)
    (work / "model" / "config.json").write_text("{}")
    assert store.size("mine") == 2
    store.remove("mine")
    assert not work.exists()
    with pytest.raises(ModelNotFound):
        store.remove("mine")


def test_remove_deletes_the_folders_that_its_files_were_converted_to(store, tmp_path, model_folder):
    from turnwise.app.model_export import export_gguf

    export_gguf(str(model_folder), tmp_path / "one.gguf", "q8_0")
    folders = [add(store, tmp_path / "one.gguf", name=name) for name in ("one", "two")]
    converted = [find_model_folder(folder.name) for folder in folders]
    by_path = find_model_folder(str(tmp_path / "one.gguf"))
    assert len({*converted, by_path}) == 3
    store.remove("one")
    assert not converted[0].parent.exists()
    assert converted[1].is_dir()
    assert by_path.is_dir()
    assert (tmp_path / "one.gguf").is_file()


@pytest.mark.parametrize("architectures", ["{}", "[[1]]", "7", '"LlamaForCausalLM"', "[null]"])
def test_an_invalid_config_is_an_error_in_the_description(store, tmp_path, architectures):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(
        f'{{"model_type": "other", "architectures": {architectures}, "max_position_embeddings": {{}}}}'
    )
    add(store, tmp_path / "mine")
    assert "'architectures' should be a list of class names" in describe("mine", store)["error"]


def test_the_description_takes_the_model_type_for_a_missing_architecture(store, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "other", "max_position_embeddings": {}}')
    add(store, tmp_path / "mine")
    description = describe("mine", store)
    assert (description["architecture"], description["context_length"]) == ("other", None)
