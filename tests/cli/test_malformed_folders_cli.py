"""Every command that opens a malformed model folder reports the fault in one line."""

import json
import shutil

import pytest


@pytest.fixture
def folder(model_folder, tmp_path):
    """A model of 10^18 layers."""
    copy = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**18}))
    return copy


@pytest.fixture
def dialogues(tmp_path):
    """Data to train on."""
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for _ in range(30)))
    return tmp_path / "data.jsonl"


@pytest.mark.parametrize("command", ["serve", "chat", "evaluate", "train"])
def test_a_config_with_too_many_layers_is_rejected_with_the_key(turnwise, folder, dialogues, tmp_path, command):
    arguments = {
        "serve": [folder, "--port", "0", "--store", "none"],
        "chat": [folder, "--prompt", "Hi"],
        "evaluate": [folder, "--metrics", "golden"],
        "train": [dialogues, "--base-model", folder, "--out", tmp_path / "out"],
    }[command]
    code, out, err = turnwise(command, *arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("Error: ")
    assert "config.json: 'num_hidden_layers' should be a whole number from 1 to 10,000, got 1000000000000000000." in err
    assert "Traceback" not in err


def test_an_unreadable_tokenizer_is_reported_with_its_path(turnwise, folder):
    (folder / "tokenizer.json").write_text("{")
    code, _, err = turnwise("tokenizer", "show", folder, "Hello")
    assert code == 2
    assert err.startswith(f"Error: {folder}/tokenizer.json is not a tokenizer that this version can read")


def test_an_adapter_rank_that_is_no_number_is_rejected_with_the_key(turnwise, folder, tmp_path):
    (tmp_path / "adapter").mkdir()
    config = {"peft_type": "LORA", "r": "many", "lora_alpha": 1, "base_model_name_or_path": str(folder)}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    code, _, err = turnwise("merge", tmp_path / "adapter", "--out", tmp_path / "merged")
    assert code == 2
    assert "adapter_config.json: 'r' should be a whole number from 1 to 65,536, got 'many'." in err
