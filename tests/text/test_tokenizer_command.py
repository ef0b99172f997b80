"""The command `turnwise tokenizer`."""

import json

import pytest
from typer.testing import CliRunner

from turnwise.cli.tokenizer import app
from turnwise.core.errors import InvalidData, InvalidParameter, UserError
from turnwise.text.tokenization.tokenizer import Tokenizer


def run(*arguments):
    result = CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def data(tmp_path, corpus):
    chats = tmp_path / "chats.jsonl"
    rows = [[{"role": "user", "content": text}, {"role": "assistant", "content": "Yes 好的"}] for text in corpus]
    chats.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return chats


def test_train_writes_a_tokenizer_that_show_uses(data, tmp_path):
    out = tmp_path / "made"
    assert "vocabulary of 400 tokens, trained on 32 texts" in run("train", data, "--out", out, "--vocab-size", 400)
    tokenizer = Tokenizer.load(out)
    assert tokenizer.vocab_size == 400
    assert tokenizer.chat_template
    shown = run("show", out, "Hello 🚚<|end|>")
    assert all(str(id) in shown for id in tokenizer.encode("Hello 🚚<|end|>"))
    assert str(len(tokenizer.encode("Hello 🚚<|end|>"))) + " tokens, 14 characters" in shown
    assert f"{tokenizer.eos_token_id}  <|end|>" in run("show", out, "a\n<|end|>", "--allow-special")


def test_training_replaces_only_a_tokenizer_and_only_with_overwrite(data, tmp_path):
    out = tmp_path / "made"
    run("train", data, "--out", out, "--vocab-size", 300)
    with pytest.raises(InvalidParameter, match=r"holds a tokenizer already.*--overwrite"):
        run("train", data, "--out", out, "--vocab-size", 310)
    assert Tokenizer.load(out).vocab_size == 300
    run("train", data, "--out", out, "--vocab-size", 310, "--overwrite")
    assert Tokenizer.load(out).vocab_size == 310
    (out / "model.safetensors").write_text("precious")
    with pytest.raises(UserError, match="has files that do not belong to a tokenizer"):
        run("train", data, "--out", out)
    assert (out / "model.safetensors").read_text() == "precious"


def test_errors_leave_no_output(data, tmp_path):
    out = tmp_path / "made"
    with pytest.raises(InvalidParameter, match="vocab_size"):
        run("train", data, "--out", out, "--vocab-size", 10)
    with pytest.raises(InvalidData):
        run("train", tmp_path / "nowhere.jsonl", "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("command", [(), ("train",), ("show",)])
def test_help_has_examples(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert not command or "Examples" in result.stdout


def test_flags_for_reading_data_are_applied(tmp_path):
    table = tmp_path / "fragen.csv"
    table.write_bytes("Frage;Antwort;Notiz\nGeöffnet?;Ja;no\n".encode("windows-1252"))
    arguments = ("train", table, "--out", tmp_path / "made", "--vocab-size", 300, "--encoding", "windows-1252")
    assert "trained on 2 texts" in run(*arguments, "--columns", "user=Frage,assistant=Antwort")


def test_the_sentences_of_conll_columns_are_read(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text("-DOCSTART- O\n\n" + "Ada B-PER\nlived O\n\nLondon B-LOC\n\n" * 4)
    assert "trained on 8 texts" in run("train", path, "--out", tmp_path / "made", "--vocab-size", 300)
