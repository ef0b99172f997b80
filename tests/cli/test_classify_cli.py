"""`turnwise train` prints a report on a classifier; `classify` and `tag` label texts of options, files and pipes."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from annotated_data import write_encoder, write_labelled, write_tagged
from turnwise.cli.main import app
from turnwise.engine.native.library import library

pytestmark = pytest.mark.costly  # every test needs a trained classifier


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory, tokenizer):
    """`classifiers(task)`: the folder of a trained classifier, and what its training printed."""
    root, trained = tmp_path_factory.mktemp("classifiers"), {}
    encoder = write_encoder(root / "encoder", tokenizer, num_heads=3)

    def make(task):
        if task not in trained:
            (data := root / f"{task}-data").mkdir()
            (write_labelled if task == "sequence_classification" else write_tagged)(data)
            arguments = [
                "train", data, "--objective", task, "--base-model", encoder, "--out", root / task, "--max-steps", 60,
                "--batch-size", 2, "--max-seq-len", 64, "--learning-rate", 3e-3,
            ]  # fmt: skip
            result = CliRunner().invoke(app, [*map(str, arguments)])
            assert result.exit_code == 0, result.stderr
            trained[task] = root / task, result.stderr
        return trained[task]

    return make


def run(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def test_training_prints_and_writes_the_report(classifiers):
    folder, printed = classifiers("token_classification")
    assert "Scores on the valid data:" in printed
    assert "micro avg" in printed
    assert "Verdict: no difference" in printed  # every word of these data has one tag
    report = json.loads((folder / "report/scorecard.json").read_text())
    assert report["entities"]["micro"]["f1"] > 0.95
    assert report["labels"]["micro"]["support"] == sum(row["support"] for row in report["labels"]["labels"])
    assert report["metadata"]["base"] == "most frequent tag of the word"
    markdown = (folder / "report/report.md").read_text()
    assert "## Entities by label" in markdown
    assert "](loss.svg)" in markdown


def test_texts_are_classified(classifiers):
    folder, _ = classifiers("sequence_classification")
    assert json.loads((folder / "report/scorecard.json").read_text())["metadata"]["base"] == "most frequent label"
    lines = run("classify", folder, "--text", "Ada likes Rome.", "--text", "Dan left Oslo.")
    assert [line.split("\t")[0] for line in lines] == ["good", "bad"]
    (row,) = map(json.loads, run("classify", folder, "--json", "--text", "Ada likes Rome."))
    assert (row["text"], row["labels"], row["is_truncated"]) == ("Ada likes Rome.", ["good"], False)
    assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-4)


def test_a_classifier_that_is_trained_further_is_compared_with_itself_before(classifiers, tmp_path):
    folder, _ = classifiers("sequence_classification")
    data = folder.with_name("sequence_classification-data")
    arguments = ["train", data, "--objective", "sequence_classification", "--base-model", folder, "--max-steps", 2]
    result = CliRunner().invoke(app, [*map(str, [*arguments, "--max-seq-len", 64, "--out", tmp_path / "more"])])
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "more/report/scorecard.json").read_text())
    assert report["metadata"]["base"] == str(folder)


def test_texts_are_tagged_with_their_places(classifiers):
    folder, _ = classifiers("token_classification")
    text = "Ada  left New York."
    assert run("tag", folder, "--text", text) == ["[PER Ada] left [LOC New York]."]
    (row,) = map(json.loads, run("tag", folder, "--json", "--text", text))
    assert [(span["start"], span["end"], span["label"]) for span in row["spans"]] == [(0, 3, "PER"), (10, 18, "LOC")]
    assert all(text[span["start"] : span["end"]] == span["text"] for span in row["spans"])


def test_files_have_a_text_or_a_json_object_per_line(classifiers, tmp_path):
    folder, _ = classifiers("sequence_classification")
    path = tmp_path / "texts"
    lines = "Ada likes Rome.\n\nDan left Oslo.\n"
    objects = '\ufeff{"text": "Ada likes Rome."}\n{"text": "Dan left Oslo."}\n'
    for content in (lines, objects):
        path.write_text(content)
        assert [line.split("\t")[0] for line in run("classify", folder, path)] == ["good", "bad"]
    path.write_text('{"txt": 1}\n')
    result = CliRunner().invoke(app, ["classify", str(folder), str(path)])
    assert "line 1: it is not a JSON object with the key 'text'" in str(result.exception)


def test_a_pipe_is_answered_line_by_line(classifiers):
    folder, _ = classifiers("sequence_classification")
    command = [sys.executable, "-m", "turnwise", "classify", str(folder), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for text, label in (("Ada likes Rome.", "good"), ("Dan left Oslo.", "bad")):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(label)
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.skipif(library() is None, reason="no compiled library")
def test_texts_are_labelled_with_8_bit_weights(classifiers):
    folder, _ = classifiers("sequence_classification")
    assert run("classify", folder, "--quantize", "int8", "--text", "Ada likes Rome.")[0].startswith("good\t")
    result = CliRunner().invoke(app, ["classify", str(folder), "--quantize", "int4", "--text", "Ada"])
    assert "Classifiers can be quantized to int8 only, not to int4." in str(result.exception)
    folder, _ = classifiers("token_classification")
    tagged = run("tag", folder, "--quantize", "int8", "--text", "Ada left New York.")
    assert tagged == ["[PER Ada] left [LOC New York]."]


@pytest.mark.parametrize(("command", "task"), [("tag", "sequence"), ("classify", "token")])
def test_the_other_command_is_named(classifiers, command, task):
    folder, _ = classifiers(f"{task}_classification")
    result = CliRunner().invoke(app, [command, str(folder), "--text", "Ada"])
    assert f"use `turnwise {'classify' if task == 'sequence' else 'tag'}`" in str(result.exception)


def test_a_chat_model_is_no_classifier(model_folder):
    result = CliRunner().invoke(app, ["classify", str(model_folder), "--text", "Ada"])
    assert "holds no classifier" in str(result.exception)


def test_there_is_one_source_of_texts(classifiers):
    folder, _ = classifiers("sequence_classification")
    assert "Give a file" in str(CliRunner().invoke(app, ["classify", str(folder)]).exception)
