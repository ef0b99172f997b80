"""`turnwise evaluate` as a person types it."""

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from turnwise.cli.evaluate import evaluate
from turnwise.core.errors import InvalidData, ModelNotFound


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def run(*words):
    app = typer.Typer()
    app.command()(evaluate)
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def data(desk, tmp_path):
    path = tmp_path / "test [set].jsonl"
    with path.open("w") as file:
        for talk in desk:
            row = {"messages": [message.as_dict() for message in talk.messages], **talk.meta}
            file.write(json.dumps(row) + "\n")
    return path


def test_json_is_one_object_on_stdout(model_folder, data, desk):
    result = run(model_folder, "--data", data, "--json")
    found = json.loads(result.stdout)
    assert found["dialogues"] == found["questions"] == 60
    assert found["bytes"] == sum(len(talk.messages[-1].content.encode()) for talk in desk)
    assert 300 < found["perplexity_per_token"] < 800  # an untrained model over 512 tokens
    assert found["recall_at_1_of_20"] < 0.3


def test_a_table_otherwise(model_folder, data):
    result = run(model_folder, "--data", data, "--limit", 30, "--candidates", 5)
    told = " ".join(result.stdout.split())
    assert "perplexity per token" in told
    assert "recall at 1 of 5" in told
    assert "[set]" in told


def test_too_few_replies_leave_selection_out_and_say_so(model_folder, data):
    result = run(model_folder, "--data", data, "--limit", 10, "--json")
    assert "recall_at_1_of_20" not in json.loads(result.stdout)
    assert "needs 20 different replies, the data has 10" in " ".join(result.stderr.split())


def test_a_malformed_row_names_file_and_line(model_folder, data):
    with data.open("a") as file:
        file.write('{"messages": []}\n')
    with pytest.raises(InvalidData, match=r"line 61: .*--skip-bad"):
        run(model_folder, "--data", data)
    result = run(model_folder, "--data", data, "--skip-bad", "--json", "--candidates", 2)
    assert json.loads(result.stdout)["dialogues"] == 60
    assert "1 bad rows left out" in result.stderr


def test_no_model(tmp_path, data):
    with pytest.raises(ModelNotFound, match="There is no"):
        run(tmp_path / "none", "--data", data)


def test_no_data(model_folder, tmp_path):
    with pytest.raises(InvalidData, match="There is no file or folder"):
        run(model_folder, "--data", tmp_path / "none.jsonl")
