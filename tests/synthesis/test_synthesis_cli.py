"""`turnwise data talk`, `score` and `filter` as a person types them, and what other commands make of their files."""

import json
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from turnwise.cli.data import app
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.data.sources import read_source
from turnwise.engine.native.library import libraries
from turnwise.synthesis.progress_journal import journal_path

pytestmark = pytest.mark.usefixtures("one_thread")
SCENES = """
scenes:
  shop: {assistants: [You are Turnwise.], users: [You ask for help.], openers: [hello, I want to cancel my order]}
"""


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Made and scored once, for all tests that only read."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "scenes.yaml").write_text(SCENES)
    made = run("talk", "box", *wanted(folder), "--count", 8, "--out", folder / "made.jsonl")
    scored = run("score", folder / "made.jsonl", "--out", folder / "scored.jsonl")
    (folder / "said.json").write_text(json.dumps([made.output, scored.output]))
    return folder


def wanted(folder):
    return "--scenes", folder / "scenes.yaml", "--turns", "1:3", "--seed", 1, "--max-tokens", 60


@pytest.mark.parametrize("command", ["talk", "score", "filter"])
def test_help_shows_an_example_and_the_list_has_the_command(command):
    assert f"turnwise data {command}" in " ".join(run(command, "--help").output.split())
    assert f" {command} " in run("--help").output


def test_help_answers_without_torch():
    code = (
        "import sys; from turnwise.cli.main import main; sys.argv = ['turnwise', 'data', 'talk', '--help']\n"
        "try: main()\nfinally: print(sorted({'torch', 'numpy', 'jinja2', 'yaml'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_talk_says_what_it_made(folder):
    told = json.loads((folder / "said.json").read_text())[0]
    made = list(read_source(folder / "made.jsonl"))
    assert f"made.jsonl: {len(made)} dialogues" in told
    assert made
    assert all(item.is_synthetic and item.meta["scene"] == "shop" for item in made)


def test_score_shows_how_the_scores_lie(folder):
    told = json.loads((folder / "said.json").read_text())[1]
    assert "relevance" in told
    assert "median" in told


def test_score_says_what_it_could_not_judge(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"messages": [{"role": "user", "content": "hi"}]}\n')
    assert "1 dialogues have no reply" in run("score", tmp_path / "a.jsonl", "--out", tmp_path / "b.jsonl").output
    assert _rows(tmp_path / "b.jsonl")[0].meta["scores"] == {"novelty": 1.0}


def test_the_marks_and_scores_survive_convert_and_split(folder, tmp_path):
    scored = list(read_source(folder / "scored.jsonl"))
    run("convert", folder / "scored.jsonl", "--out", tmp_path / "again.jsonl")
    assert list(read_source(tmp_path / "again.jsonl")) == scored
    run("split", folder / "scored.jsonl", "--out", tmp_path / "split", "--test", 0.3)
    parts = [item for side in ("train", "valid", "test") for item in _rows(tmp_path / "split" / f"{side}.jsonl")]
    assert sorted(json.dumps(dict(item.meta)) for item in parts) == sorted(json.dumps(dict(i.meta)) for i in scored)


def _rows(path):
    return list(read_source(path, format="openai"))


def test_check_counts_what_was_generated(folder):
    report = json.loads(run("check", folder / "made.jsonl", "--json").stdout)
    assert report["generated"] == report["conversations"] > 0
    assert "generated conversations" in run("check", folder / "made.jsonl").output


def test_filter_says_how_many_are_left_and_why(folder, tmp_path):
    rows = len(_rows(folder / "scored.jsonl"))
    result = run(
        "filter", folder / "scored.jsonl", "--best", 0.5, "--by", "relevance", "--out", tmp_path / "kept.jsonl"
    )
    kept = len(_rows(tmp_path / "kept.jsonl"))
    assert kept == (rows + 1) // 2
    assert f"{kept} of {rows} rows kept" in result.output
    assert "not among the best 50% by relevance" in result.output


def test_filter_of_unscored_rows_names_the_command_that_scores(folder, tmp_path):
    with pytest.raises(InvalidData, match="turnwise data score"):
        run("filter", folder / "made.jsonl", "--min", "likelihood=-3", "--out", tmp_path / "kept.jsonl")
    assert not (tmp_path / "kept.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "Say what to keep"),
        (("--best", 0.5), "--best and --by go together"),
        (("--min", "likelihood"), "NAME=NUMBER"),
        (("--best", 2, "--by", "relevance"), "at most 1"),
    ],
)
def test_filter_refuses_what_makes_no_sense(folder, tmp_path, flags, told):
    with pytest.raises(InvalidParameter, match=told):
        run("filter", folder / "scored.jsonl", "--out", tmp_path / "kept.jsonl", *flags)


@pytest.mark.parametrize("command", [("score",), ("filter", "--only", "written")])
def test_nothing_is_written_over_what_is_read(folder, command):
    name, *flags = command
    with pytest.raises(InvalidData, match="one of the input files"):
        run(name, folder / "scored.jsonl", "--out", folder / "scored.jsonl", *flags)


def test_talk_does_not_replace_a_file_unasked(folder):
    with pytest.raises(InvalidParameter, match="--overwrite"):
        run("talk", "box", *wanted(folder), "--count", 1, "--out", folder / "made.jsonl")


@pytest.mark.parametrize("turns", ["many", "2:x", "0:3", "5:2"])
def test_turns_are_two_numbers(folder, tmp_path, turns):
    with pytest.raises(InvalidParameter, match="FEWEST:MOST"):
        run("talk", "box", "--scenes", folder / "scenes.yaml", "--count", 1, "--turns", turns, "--out", tmp_path / "o")


def test_two_models_talk(folder, tmp_path, model_folder):
    """The user is a model that knows no word; what comes of it is told."""
    out = tmp_path / "o.jsonl"
    run("talk", "box", "--user", model_folder, *wanted(folder), "--count", 4, "--out", out)
    assert {(row.meta["assistant"], row.meta["user"]) for row in _rows(out)} == {("turnwise-box", "tiny")}


def test_made_dialogues_are_trained_on_as_they_are_and_weighed(folder):
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.models import checkpoint
    from turnwise.text.rendering.renderer import Renderer
    from turnwise.text.tokenization.tokenizer import Tokenizer
    from turnwise.training.examples.load_datasets import load_datasets
    from turnwise.training.recipe import parse_recipe

    box = resolve_model_folder(None)
    weighed = [{"path": str(folder / "made.jsonl"), "weight": 1}, {"path": str(folder / "scored.jsonl"), "weight": 3}]
    values = {
        "model": {"from": str(box)},
        "data": {"train": weighed},
        "training": {"max_seq_len": 512},
        "out": "unused",
    }
    recipe = parse_recipe(values, origin="test")
    found = load_datasets(recipe, Renderer.from_tokenizer(Tokenizer.load(box)), checkpoint.load(box))
    assert len(found.train) > 0


@pytest.mark.slow
@pytest.mark.skipif(not libraries(), reason="without the compiled library numbers depend on what was read before")
def test_interrupted_and_killed_it_goes_on_to_the_same_file(folder, tmp_path):
    whole, parted = tmp_path / "whole.jsonl", tmp_path / "parted.jsonl"
    partial = journal_path(parted)
    flags = [*wanted(folder), "--count", 40, "--slots", 1, "--out"]
    run("talk", "box", *flags, whole)

    def stopped(how, beyond):
        command = [sys.executable, "-m", "turnwise", "data", "talk", "box", *map(str, [*flags, parted])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not (partial.exists() and partial.read_bytes().count(b"\n") > beyond):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(how)
        return process.communicate(timeout=60)[1], process.returncode

    told, code = stopped(signal.SIGINT, 3)
    assert "the same command goes on" in told
    assert code == 130
    done = partial.read_bytes().count(b"\n")
    told, _ = stopped(signal.SIGKILL, done + 2)
    assert f"Going on after {done - 1} dialogues" in told
    assert not parted.exists()
    run("talk", "box", *flags, parted)
    assert parted.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def test_score_and_filter_read_as_the_flags_say(tmp_path):
    table = tmp_path / "log.csv"
    table.write_bytes("wer;satz;nr\nAda;Geöffnet?;1\nBob;Ja;1\n".encode("windows-1252"))
    flags = (
        "--encoding", "windows-1252", "--columns", "role=wer,content=satz,conversation_id=nr",
        "--role", "Ada=user", "--role", "Bob=assistant",
    )  # fmt: skip
    run("score", table, "--out", tmp_path / "scored.jsonl", *flags)
    run("filter", table, "--out", tmp_path / "kept.jsonl", "--only", "written", *flags)
    for file in ("scored.jsonl", "kept.jsonl"):
        (row,) = _rows(tmp_path / file)
        assert [(message.role, message.content) for message in row.messages] == [
            ("user", "Geöffnet?"), ("assistant", "Ja"),
        ]  # fmt: skip
