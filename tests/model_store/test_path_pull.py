"""A model folder or a GGUF file of this machine joins the store, as links or as a copy."""

import shutil

import pytest

from turnwise.app.model_store.pull import plan_pull
from turnwise.core.errors import InvalidParameter, ModelNotFound, UserError
from turnwise.models.model_folders import find_model_folder


def add(store, path, **options):
    return plan_pull(str(path), **options).run(store, lambda *_: None)[0]


@pytest.fixture
def original(tmp_path):
    folder = tmp_path / "original"
    (folder / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "pytorch_model.bin", ".hidden", "1_Pooling/config.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("storage", ["link", "copy"])
def test_a_folder_is_added_without_pickles_and_hidden_files(store, original, storage):
    folder = add(store, original, name="mine", storage=storage)
    assert folder == store.root / "mine"
    assert sorted(path.name for path in folder.iterdir()) == [
        "1_Pooling", "config.json", "model.safetensors", "source.json",
    ]  # fmt: skip
    assert (folder / "config.json").is_symlink() == (storage == "link")
    assert (folder / "1_Pooling" / "config.json").read_text() == "{}"
    assert store.get("mine").source == str(original)
    assert all(bool(file.sha256) == (storage == "copy") for file in store.get("mine").files)


def test_removing_a_linked_model_leaves_the_original(store, original):
    folder = add(store, original)
    store.remove("original")
    assert not folder.exists()
    assert (original / "1_Pooling" / "config.json").read_text() == "{}"


def test_a_copy_does_not_need_the_original(store, original):
    folder = add(store, original, storage="copy")
    for path in sorted(original.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert (folder / "model.safetensors").read_text() == "{}"


def test_a_gguf_file_has_its_stem_as_its_name(store, tmp_path):
    file = tmp_path / "some-model.Q4_0.gguf"
    file.write_bytes(b"GGUF")
    folder = add(store, file)
    assert folder.name == "some-model.Q4_0"
    assert (folder / file.name).read_bytes() == b"GGUF"


def test_the_first_file_of_a_split_model_adds_all(store, tmp_path):
    files = [tmp_path / f"m-{number:05d}-of-00002.gguf" for number in (1, 2)]
    for file in files:
        file.write_bytes(file.name.encode())
    folder = add(store, files[0])
    assert folder.name == "m"
    assert [(folder / file.name).read_bytes() for file in files] == [file.read_bytes() for file in files]
    with pytest.raises(UserError, match=r"name the first one, m-00001-of-00002\.gguf"):
        add(store, files[1])
    files[1].unlink()
    with pytest.raises(ModelNotFound, match=r"m-00002-of-00002\.gguf is missing"):
        add(store, files[0])


def test_the_same_command_replaces_the_entry(store, original):
    """The original may have changed, and a copy may be asked for in place of links."""
    assert (add(store, original) / "config.json").is_symlink()
    folder = add(store, original, storage="copy")
    assert not (folder / "config.json").is_symlink()
    (original / "config.json").write_text("[]")
    (original / "new.json").write_text("{}")
    assert (add(store, original, storage="copy") / "config.json").read_text() == "[]"
    assert (folder / "new.json").is_file()


def test_a_link_in_a_hub_cache_keeps_its_name(store, tmp_path):
    (tmp_path / "blob").write_bytes(b"GGUF")
    (tmp_path / "m.gguf").symlink_to(tmp_path / "blob")
    folder = add(store, tmp_path / "m.gguf")
    assert (folder.name, (folder / "m.gguf").read_bytes()) == ("m", b"GGUF")


def test_folders_in_the_store_are_neither_linked_nor_replaced(store, original):
    by_hand = store.root / "by-hand"
    shutil.copytree(original, by_hand)
    with pytest.raises(UserError, match="exists and is not a pulled model"):
        add(store, by_hand)
    with pytest.raises(UserError, match="is in the model store"):
        add(store, by_hand, name="other")
    assert (by_hand / "model.safetensors").read_text() == "{}"


def test_an_added_model_is_found_by_its_name(original, monkeypatch, tmp_path):
    from turnwise.app.model_store.store import ModelStore

    monkeypatch.setenv("TURNWISE_HOME", str(tmp_path / "home"))
    add(ModelStore(), original, name="mine")
    assert find_model_folder("mine") == tmp_path / "home" / "models" / "mine"


def test_what_is_no_model_is_refused(store, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("?")
    for path, error, message in (
        (tmp_path / "nowhere", ModelNotFound, "There is no file or folder"),
        (tmp_path / "empty", UserError, "holds no model"),
        (tmp_path / "notes.txt", UserError, "is not a GGUF file"),
    ):
        with pytest.raises(error, match=message):
            add(store, path)


@pytest.mark.parametrize("name", ["smollm2", "tiny", "box", "a b", "../up", ".hidden"])
def test_a_name_that_is_taken_or_no_name_is_refused(store, original, name):
    with pytest.raises(InvalidParameter, match="name"):
        add(store, original, name=name)


def test_another_model_of_the_same_name_is_not_replaced(store, original, tmp_path):
    add(store, original, name="mine")
    (tmp_path / "two.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match="turnwise models remove mine"):
        add(store, tmp_path / "two.gguf", name="mine")


def test_an_unknown_name_is_answered_with_the_nearest_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidParameter, match="did you mean 'smollm2'"):
        plan_pull("smolm2")


def test_from_is_for_the_catalogue_only(original):
    with pytest.raises(InvalidParameter, match="needs a model of the catalogue"):
        plan_pull(str(original), origin=original)
    with pytest.raises(InvalidParameter, match="There is no file or folder"):
        plan_pull("smollm2", origin=original / "nowhere")
    with pytest.raises(InvalidParameter, match="always has this name"):
        plan_pull("smollm2", name="mine")
