"""Common mistakes of users: wrong model arguments, and errors reported before torch is imported."""

import json
import shutil
import socket
import subprocess
import sys

import pytest

from turnwise.core.errors import InvalidParameter
from turnwise.models.adapters import LoraWeights, save_adapter


@pytest.mark.parametrize("command", ["serve", "chat", "evaluate", "train"])
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("model.gguf", "is not a GGUF file: it does not begin with 'GGUF'"),
        ("nowhere.gguf", "There is no GGUF file nowhere.gguf"),
        ("notes.txt", "is a file. A model is a GGUF file or a folder"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "turnwise models pull hf:HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("https://huggingface.co/owner/name", "turnwise models pull hf:owner/name"),
        ("https://example.org/model", "is a URL; models are not downloaded automatically"),
        ("hf://owner/name", "turnwise models pull hf:owner/name"),
    ],
)
def test_an_argument_that_is_no_model_folder_is_rejected_with_a_hint(
    turnwise, tmp_path, monkeypatch, command, argument, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name in ("model.gguf", "notes.txt", "data.jsonl"):
        (tmp_path / name).write_text("x")
    arguments = {"train": ["data.jsonl", "--out", "out", "--base-model", argument]}.get(command, [argument])
    code, out, err = turnwise(command, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert argument in err
    assert message in err


def test_a_hub_name_in_the_local_cache_is_loaded(turnwise, tmp_path, monkeypatch, model_folder):
    cache = tmp_path / "hub" / "models--owner--name"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc123")
    shutil.copytree(model_folder, cache / "snapshots" / "abc123")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    code, out, _ = turnwise("chat", "owner/name", "--prompt", "Hi", "--max-tokens", "2")
    assert code == 0
    assert out


def test_an_encoder_is_rejected_as_one(turnwise, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "encoder")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    code, _, err = turnwise("serve", folder, "--port", "0", "--store", "none")
    assert code == 2
    assert err == (
        f"Error: {folder} holds an encoder (BertModel), which computes embeddings or classifies: "
        "it cannot generate answers.\n"
    )


def test_a_model_without_a_chat_template_gets_a_note(turnwise, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "plain")
    (folder / "chat_template.jinja").unlink()
    code, _, err = turnwise("chat", folder, "--prompt", "Hi", "--max-tokens", "2")
    assert code == 0
    assert "Note: plain has no chat template (chat_template.jinja)" in err
    assert "Note" not in turnwise("chat", model_folder, "--prompt", "Hi", "--max-tokens", "2")[2]


def test_an_adapter_whose_base_has_moved_is_rejected_with_the_key_to_change(turnwise, model_folder, tmp_path):
    import torch

    base, adapter = shutil.copytree(model_folder, tmp_path / "base"), tmp_path / "adapter"
    adapter.mkdir()
    weights = LoraWeights(torch.zeros(2, 32), torch.zeros(32, 2))
    save_adapter(adapter, {"model.layers.0.self_attn.q_proj": weights}, base=base, rank=2, alpha=4.0, dropout=0.0,
                 task_type="CAUSAL_LM")  # fmt: skip
    base.rename(tmp_path / "moved")
    code, _, err = turnwise("chat", adapter, "--prompt", "Hi")
    assert code == 2
    assert f"write its new folder into {adapter}/adapter_config.json as base_model_name_or_path" in err


class TestErrorsBeforeTorchIsImported:
    """Runs the command in a process and checks that torch was not imported."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["train", "nofile.jsonl", "--out", "x"], "There is no file or folder nofile.jsonl."),
            (["train", "."], "Set the folder for the trained model with --out FOLDER."),
            (["train", ".", "--out", "x", "--base-model", "nowhere"], "There is no model folder nowhere."),
            (["serve", "--host", "0.0.0.0", "--store", "none"], "--allow-remote"),
            (["serve", "--port", "PORT", "--store", "none"], "address already in use"),
            (["serve", "--adapter", "a=nowhere", "--store", "none"], "There is no model folder nowhere."),
            (["chat", "broken", "--prompt", "Hi"], "config.json is missing"),
        ],
    )
    def test_the_error_is_reported_without_torch(self, tmp_path, arguments, message):
        (tmp_path / "broken").mkdir()
        program = (
            "import sys; from turnwise.cli.main import main\n"
            "try: main()\n"
            "finally: print('torch' if 'torch' in sys.modules else 'light')"
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = str(listener.getsockname()[1])
            arguments = [port if argument == "PORT" else argument for argument in arguments]
            process = subprocess.run(
                [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
            )
        assert process.returncode == 2
        assert message in process.stderr
        assert process.stdout == "light\n"


class TestMessageArgument:
    def test_several_words_instead_of_a_model_are_a_message(self, turnwise, monkeypatch, model_folder):
        monkeypatch.setattr("turnwise.app.model_names.default_model_name", lambda: str(model_folder))
        code, out, _ = turnwise("chat", "How are you?", "--max-tokens", "3", "--temperature", "0")
        expected = turnwise("chat", "--prompt", "How are you?", "--max-tokens", "3", "--temperature", "0")[1]
        assert (code, out) == (0, expected)

    def test_a_model_and_a_message_are_accepted_together(self, turnwise, model_folder):
        flags = ("--max-tokens", "3", "--temperature", "0")
        code, out, _ = turnwise("chat", model_folder, "Hello", *flags)
        assert (code, out) == (0, turnwise("chat", model_folder, "--prompt", "Hello", *flags)[1])

    def test_one_word_that_is_no_model_gets_a_hint(self, turnwise):
        code, _, err = turnwise("chat", "Hello")
        assert code == 2
        assert 'To send it as a message: turnwise chat --prompt "Hello"' in err

    def test_a_long_text_is_a_message(self, turnwise, monkeypatch, model_folder):
        monkeypatch.setattr("turnwise.app.model_names.default_model_name", lambda: str(model_folder))
        assert turnwise("chat", "a b " * 10, "--max-tokens", "2")[0] == 0


class TestExistingFiles:
    @pytest.fixture
    def chats(self, tmp_path):
        row = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
        (tmp_path / "chats.jsonl").write_text(json.dumps(row) + "\n")
        return tmp_path / "chats.jsonl"

    def test_convert_replaces_a_file_only_with_overwrite(self, turnwise, chats, tmp_path):
        out = tmp_path / "out.jsonl"
        out.write_text("precious")
        code, _, err = turnwise("data", "convert", chats, "--out", out)
        assert code == InvalidParameter.exit_code
        assert f"{out} exists already. Choose another --out, or pass --overwrite to replace it." in err
        assert out.read_text() == "precious"
        assert turnwise("data", "convert", chats, "--out", out, "--overwrite")[0] == 0
        assert "hello" in out.read_text()
