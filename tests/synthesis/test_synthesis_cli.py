"""`turnwise data simulate`, `score` and `filter` on the command line, and other commands on the files they write."""

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
SCENARIOS = """
scenarios:
  shop:
    system_prompts: [You are Turnwise.]
    user_personas: [You ask for help.]
    first_messages: [hello, I want to cancel my order]
"""


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`simulated.jsonl`, `scored.jsonl` and the outputs of the commands that wrote them, for tests that only read."""
    folder = tmp_path_factory.mktemp("synthesis")
    (folder / "scenarios.yaml").write_text(SCENARIOS)
    simulated = run("simulate", "box", *flags(folder), "--count", 8, "--out", folder / "simulated.jsonl")
    scored = run("score", folder / "simulated.jsonl", "--out", folder / "scored.jsonl")
    (folder / "outputs.json").write_text(json.dumps({"simulate": simulated.output, "score": scored.output}))
    return folder


def flags(folder):
    """Flags of `simulate` for short dialogues."""
    return "--scenarios", folder / "scenarios.yaml", "--exchanges", "1:3", "--seed", 1, "--max-tokens", 60


def read_rows(path):
    return list(read_source(path, format="openai"))


@pytest.mark.parametrize("command", ["simulate", "score", "filter"])
def test_a_command_is_listed_and_its_help_shows_an_example(command):
    assert f"turnwise data {command}" in " ".join(run(command, "--help").output.split())
    assert f" {command} " in run("--help").output


def test_help_does_not_import_torch():
    program = (
        "import sys; from turnwise.cli.main import main; sys.argv = ['turnwise', 'data', 'simulate', '--help']\n"
        "try: main()\nfinally: print(sorted({'torch', 'numpy', 'jinja2', 'yaml'} & set(sys.modules)), file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == "[]"


@pytest.mark.costly
def test_simulate_reports_the_number_of_dialogues(folder):
    output = json.loads((folder / "outputs.json").read_text())["simulate"]
    dialogues = list(read_source(folder / "simulated.jsonl"))
    assert f"simulated.jsonl: {len(dialogues)} dialogues" in output
    assert dialogues
    assert all(dialogue.is_synthetic and dialogue.meta["scenario"] == "shop" for dialogue in dialogues)


def test_score_shows_quantiles_of_the_scores(folder):
    output = json.loads((folder / "outputs.json").read_text())["score"]
    assert "relevance" in output
    assert "median" in output


@pytest.mark.costly
def test_score_reports_dialogues_without_a_scored_reply(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"messages": [{"role": "user", "content": "hi"}]}\n')
    result = run("score", tmp_path / "a.jsonl", "--out", tmp_path / "b.jsonl")
    assert "Without a reply that the model can score: 1 dialogue." in result.output
    assert read_rows(tmp_path / "b.jsonl")[0].meta["scores"] == {"novelty": 1.0}


def test_convert_and_split_keep_the_metadata_and_scores(folder, tmp_path):
    scored = list(read_source(folder / "scored.jsonl"))
    run("convert", folder / "scored.jsonl", "--out", tmp_path / "converted.jsonl")
    assert list(read_source(tmp_path / "converted.jsonl")) == scored
    run("split", folder / "scored.jsonl", "--out", tmp_path / "split", "--test", 0.3)
    names = ("train", "valid", "test")
    rows = [row for name in names for row in read_rows(tmp_path / "split" / f"{name}.jsonl")]
    assert sorted(json.dumps(dict(row.meta)) for row in rows) == sorted(json.dumps(dict(row.meta)) for row in scored)


def test_check_counts_synthetic_dialogues(folder):
    report = json.loads(run("check", folder / "simulated.jsonl", "--json").stdout)
    assert report["generated"] == report["conversations"] > 0
    assert "generated conversations" in run("check", folder / "simulated.jsonl").output


def test_filter_counts_kept_rows_and_dropped_rows_by_reason(folder, tmp_path):
    num_rows = len(read_rows(folder / "scored.jsonl"))
    criteria = ("--top-fraction", 0.5, "--sort-by", "relevance")
    result = run("filter", folder / "scored.jsonl", *criteria, "--out", tmp_path / "filtered.jsonl")
    num_kept = len(read_rows(tmp_path / "filtered.jsonl"))
    assert num_kept == (num_rows + 1) // 2
    assert f"{num_kept} of {num_rows} rows kept" in result.output
    assert "not in the top 50% by relevance" in result.output


def test_filter_rejects_rows_without_scores_and_names_the_command_that_adds_them(folder, tmp_path):
    out = tmp_path / "filtered.jsonl"
    with pytest.raises(InvalidData, match="turnwise data score"):
        run("filter", folder / "simulated.jsonl", "--min-score", "likelihood=-3", "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ((), "Set at least one criterion"),
        (("--top-fraction", 0.5), "'top_fraction' and 'sort_by' must be set together"),
        (("--min-score", "likelihood"), "NAME=NUMBER"),
        (("--top-fraction", 2, "--sort-by", "relevance"), "at most 1"),
    ],
)
def test_filter_rejects_invalid_criteria(folder, tmp_path, criteria, message):
    with pytest.raises(InvalidParameter, match=message):
        run("filter", folder / "scored.jsonl", "--out", tmp_path / "filtered.jsonl", *criteria)


@pytest.mark.parametrize("command", [("score",), ("filter", "--only", "human")])
def test_an_input_file_is_not_accepted_as_output(folder, command):
    name, *criteria = command
    with pytest.raises(InvalidData, match="one of the input files"):
        run(name, folder / "scored.jsonl", "--out", folder / "scored.jsonl", *criteria)


def test_simulate_does_not_replace_a_file_without_overwrite(folder):
    with pytest.raises(InvalidParameter, match="--overwrite"):
        run("simulate", "box", *flags(folder), "--count", 1, "--out", folder / "simulated.jsonl")


@pytest.mark.parametrize("exchanges", ["many", "2:x", "0:3", "5:2"])
def test_an_invalid_range_of_exchanges_is_rejected(folder, tmp_path, exchanges):
    arguments = ("--scenarios", folder / "scenarios.yaml", "--count", 1, "--out", tmp_path / "o")
    with pytest.raises(InvalidParameter, match="MIN:MAX"):
        run("simulate", "box", "--exchanges", exchanges, *arguments)


def test_two_different_models_can_simulate_a_dialogue(folder, tmp_path, model_folder):
    """The user model has random weights."""
    out = tmp_path / "o.jsonl"
    run("simulate", "box", "--user", model_folder, *flags(folder), "--count", 4, "--out", out)
    assert {(row.meta["assistant"], row.meta["user"]) for row in read_rows(out)} == {("turnwise-box", "tiny")}


def test_training_reads_synthetic_dialogues_with_weights(folder):
    from turnwise.app.model_names import resolve_model_folder
    from turnwise.models import checkpoint
    from turnwise.text.rendering.renderer import Renderer
    from turnwise.text.tokenization.tokenizer import Tokenizer
    from turnwise.training.examples.load_datasets import load_datasets
    from turnwise.training.recipe import parse_recipe

    box = resolve_model_folder(None)
    sources = [
        {"path": str(folder / "simulated.jsonl"), "weight": 1}, {"path": str(folder / "scored.jsonl"), "weight": 3}
    ]  # fmt: skip
    values = {
        "model": {"from": str(box)},
        "data": {"train": sources},
        "training": {"max_seq_len": 512},
        "out": "unused",
    }
    recipe = parse_recipe(values, origin="test")
    datasets = load_datasets(recipe, Renderer.from_tokenizer(Tokenizer.load(box)), checkpoint.load(box))
    assert len(datasets.train) > 0


@pytest.mark.slow
@pytest.mark.skipif(not libraries(), reason="without the compiled library, results depend on the batch")
def test_an_interrupted_and_killed_run_resumes_to_the_same_file(folder, tmp_path):
    uninterrupted, resumed = tmp_path / "uninterrupted.jsonl", tmp_path / "resumed.jsonl"
    journal = journal_path(resumed)
    arguments = [*flags(folder), "--count", 40, "--concurrency", 1, "--out"]
    run("simulate", "box", *arguments, uninterrupted)

    def run_until(num_lines, stop_signal):
        """Run in a process and send the signal when the journal has more lines; returns stderr and the exit code."""
        command = [sys.executable, "-m", "turnwise", "data", "simulate", "box", *map(str, [*arguments, resumed])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not (journal.exists() and journal.read_bytes().count(b"\n") > num_lines):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(stop_signal)
        return process.communicate(timeout=60)[1], process.returncode

    stderr, exit_code = run_until(3, signal.SIGINT)
    assert "run the same command again to resume" in stderr
    assert exit_code == 130
    num_lines = journal.read_bytes().count(b"\n")
    stderr, _ = run_until(num_lines + 2, signal.SIGKILL)
    assert f"Resuming after {num_lines - 1} dialogues" in stderr
    assert not resumed.exists()
    run("simulate", "box", *arguments, resumed)
    assert resumed.read_bytes() == uninterrupted.read_bytes()
    assert not journal.exists()


def test_score_and_filter_apply_the_flags_for_reading_data(tmp_path):
    table = tmp_path / "log.csv"
    table.write_bytes("wer;satz;nr\nAda;Geöffnet?;1\nBob;Ja;1\n".encode("windows-1252"))
    reading_flags = (
        "--encoding", "windows-1252", "--columns", "role=wer,content=satz,conversation_id=nr",
        "--role", "Ada=user", "--role", "Bob=assistant",
    )  # fmt: skip
    run("score", table, "--out", tmp_path / "scored.jsonl", *reading_flags)
    run("filter", table, "--out", tmp_path / "filtered.jsonl", "--only", "human", *reading_flags)
    for name in ("scored.jsonl", "filtered.jsonl"):
        (row,) = read_rows(tmp_path / name)
        assert [(message.role, message.content) for message in row.messages] == [
            ("user", "Geöffnet?"), ("assistant", "Ja"),
        ]  # fmt: skip
