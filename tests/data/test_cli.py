"""The commands `turnwise data …`."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from turnwise.cli.data import app
from turnwise.core.errors import InvalidData, ModelNotFound

GOOD = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}\n'
GRAMMAR = 'topics: {a: {user: ["hi[|!|.|?]"], assistant: ["hello[|!]"]}}'


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def chats(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize("command", ["check", "split", "expand", "convert"])
def test_help_shows_an_example(command):
    assert f"turnwise data {command}" in " ".join(run(command, "--help").output.split())


def test_importing_the_command_imports_no_slow_packages():
    heavy = ("rich.progress", "yaml", "torch", "tokenizers")
    code = f"import sys, turnwise.cli.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_check_prints_a_verdict_and_exits_with_0(chats):
    result = run("check", chats)
    assert result.exit_code == 0
    assert "Usable" in result.output


def test_check_exits_with_1_without_a_row_to_train_on(tmp_path):
    path = tmp_path / "chats.jsonl"
    path.write_text('{"messages": []}\n')
    assert run("check", path).exit_code == 1


def test_check_as_json_against_a_test_set(chats):
    report = json.loads(run("check", chats, "--against", chats, "--json").stdout)
    assert report["findings"][0]["kind"] == "leaks"


def test_check_needs_a_tokenizer_to_count_tokens(chats, tmp_path):
    with pytest.raises(ModelNotFound, match="no tokenizer"):
        run("check", chats, "--tokenizer", tmp_path)


def test_check_counts_tokens(chats, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"hi": 0, "hello": 1}, unk_token="hi"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    report = json.loads(run("check", chats, "--json", "--tokenizer", tmp_path).stdout)
    assert report["lengths"]["tokens per dialogue"]["total"] == 2


def test_split_writes_three_files_and_warns_of_an_empty_split(chats, tmp_path):
    result = run("split", chats, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "split.json", "test.jsonl", "train.jsonl", "valid.jsonl",
    ]  # fmt: skip
    assert "file is empty" in result.output


def test_expand_writes_dialogues_and_reports_an_exhausted_grammar(tmp_path):
    (tmp_path / "g.yaml").write_text(GRAMMAR)
    result = run(
        "expand", tmp_path / "g.yaml", "--count", 100, "--seed", 1, "--out", tmp_path / "o.jsonl", "--noise", 0
    )
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 8
    assert "yields only 8 different dialogues" in result.output


def test_convert_writes_a_table_as_openai_messages(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,response\nhi,hello\nbroken\n")
    with pytest.raises(InvalidData, match="line 3"):
        run("convert", tmp_path / "a.csv", "--out", tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()
    result = run("convert", tmp_path / "a.csv", "--out", tmp_path / "a.jsonl", "--skip-bad-rows")
    assert (tmp_path / "a.jsonl").read_text() == GOOD
    assert "1 bad row was skipped" in result.output


def test_convert_never_overwrites_its_input(chats):
    with pytest.raises(InvalidData, match="one of the input files"):
        run("convert", chats, "--out", chats)
    assert chats.read_text() == GOOD
