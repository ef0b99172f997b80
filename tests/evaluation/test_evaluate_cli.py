"""`turnwise evaluate` from the command line."""

import io
import json
import shlex
import sys
from dataclasses import replace

import pytest
import torch
from evaluate_command import rows_by_name, run, scorecard_of, unwrapped
from rich.console import Console

from turnwise.app.systems_under_test import open_model_under_test
from turnwise.cli.scorecard_table import print_scorecard
from turnwise.core.errors import InvalidData, InvalidParameter, ModelNotFound
from turnwise.engine.engine import Engine
from turnwise.evaluation.baselines.ngram import NgramBaseline
from turnwise.evaluation.evaluate import evaluate
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.model_under_test import DecoderUnderTest
from turnwise.evaluation.samples import GenerationOutput
from turnwise.evaluation.scorecard import Scorecard, ScorecardRow
from turnwise.evaluation.statistics import ConfidenceInterval
from turnwise.evaluation.temperature_sweep import run_temperature_sweep
from turnwise.models.checkpoint import create
from turnwise.store.sqlite.response_cache import SqliteResponseCache
from turnwise.training.export import export_model

FEW_METRICS = "chrf,bits_per_byte,selection"

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.mark.costly
def test_json_is_one_object_on_stdout(model_folder, data):
    scorecard = scorecard_of(model_folder, "--data", data, "--metrics", FEW_METRICS, "--max-tokens", 8)
    assert scorecard["verdict"] is None
    rows = rows_by_name(scorecard)
    assert list(rows) == ["selection", "chrf", "bits_per_byte"]
    assert all(row["num_dialogues"] == 60 for row in rows.values())
    assert len(rows["chrf"]["values_by_seed"]) == 3
    assert rows["bits_per_byte"]["value"] > 2  # an untrained model
    assert rows["selection"]["interval"]["low"] < rows["selection"]["value"] < rows["selection"]["interval"]["high"]
    metadata = scorecard["metadata"]
    assert metadata["dialogues"] == 60
    assert metadata["seeds"] == [0, 1, 2]
    assert metadata["model"]["fingerprint"].startswith("fp_")
    assert metadata["versions"]["turnwise"]


@pytest.mark.costly
def test_without_json_a_table_is_printed(model_folder, data):
    result = run(model_folder, "--data", data, "--limit", 30, "--metrics", FEW_METRICS, "--max-tokens", 8)
    output = unwrapped(result.stdout)
    assert "bits per byte" in output
    assert "response selection" in output
    assert "Verdict" not in output


@pytest.mark.costly
def test_a_model_against_itself_is_no_difference(model_folder, data, tmp_path):
    report = tmp_path / "report"
    result = run(
        model_folder, "--data", data, "--against", model_folder, "--metrics", FEW_METRICS, "--max-tokens", 8,
        "--out", report, "--fail-if-worse",
    )  # fmt: skip
    assert "Verdict: no difference" in result.stdout
    assert result.exit_code == 0
    scorecard = json.loads((report / "scorecard.json").read_text())
    assert scorecard["verdict"] == "no difference"
    assert all(row["difference"] == 0 for row in scorecard["rows"])
    assert "No difference" in (report / "report.html").read_text()


@pytest.mark.costly
def test_a_worse_model_exits_with_code_1_if_fail_if_worse_is_set(model_folder, data, tmp_path, tiny_config, tokenizer):
    worse = create(tiny_config, seed=0)
    with torch.no_grad():
        worse.decoder.embed.weight *= 40  # untrained like the base, but with confident predictions
    export_model(tmp_path / "worse", worse, tokenizer)
    result = run(
        tmp_path / "worse", "--data", data, "--against", model_folder, "--metrics", "bits_per_byte", "--fail-if-worse"
    )
    assert result.exit_code == 1
    assert "Verdict: worse" in result.stdout
    assert "worse on 1 (bits per byte)" in result.stdout


@pytest.mark.costly
def test_selection_is_left_out_with_too_few_replies(model_folder, data):
    scorecard = scorecard_of(model_folder, "--data", data, "--limit", 10, "--metrics", FEW_METRICS)
    assert "selection" not in rows_by_name(scorecard)


@pytest.mark.costly
@pytest.mark.parametrize("kind", ["retrieval", "ngram"])
def test_a_baseline_can_be_the_model_or_the_base(model_folder, data, kind):
    options = ("--data", data, "--metrics", "chrf", "--max-tokens", 8)
    scorecard = scorecard_of(f"{kind}:{data}", "--against", model_folder, *options)
    assert scorecard["verdict"] == "better"  # the baseline was trained on the test data
    scorecard = scorecard_of(model_folder, "--against", f"{kind}:{data}", *options)
    assert scorecard["verdict"] == "worse"


@pytest.mark.costly
def test_a_metric_that_one_system_cannot_compute_is_reported_as_not_applicable(model_folder, data):
    result = run(
        model_folder, "--data", data, "--against", f"retrieval:{data}", "--metrics", "chrf,bits_per_byte",
        "--limit", 5, "--max-tokens", 4, "--json",
    )  # fmt: skip
    scorecard = json.loads(result.stdout)
    assert list(rows_by_name(scorecard)) == ["chrf"]
    assert scorecard["metadata"]["not_applicable"] == {"bits_per_byte": "retrieval has no log-likelihoods"}
    assert "Not applicable: bits_per_byte (retrieval has no log-likelihoods)." in unwrapped(result.stderr)


def test_without_any_applicable_metric_the_error_names_the_missing_capability(model_folder, data):
    with pytest.raises(InvalidData, match="None of these metrics is applicable: retrieval has no log-likelihoods"):
        run(model_folder, "--data", data, "--against", f"retrieval:{data}", "--metrics", "bits_per_byte")


@pytest.mark.costly
def test_a_repeated_evaluation_uses_the_cache(model_folder, data, monkeypatch):
    arguments = (model_folder, "--data", data, "--limit", 20, "--metrics", FEW_METRICS, "--max-tokens", 8)
    first = scorecard_of(*arguments)
    monkeypatch.setattr(Engine, "submit", lambda *_: pytest.fail("the response is in the cache"))
    assert scorecard_of(*arguments)["rows"] == first["rows"]


@pytest.mark.costly
def test_a_temperature_sweep_adds_a_figure_to_the_report(model_folder, data, tmp_path):
    run(
        model_folder, "--data", data, "--limit", 5, "--metrics", "chrf", "--max-tokens", 8, "--temperature-sweep",
        "--out", tmp_path / "report",
    )  # fmt: skip
    assert (tmp_path / "report" / "temperature_sweep.svg").is_file()


@pytest.mark.costly
def test_golden_cases_of_a_file_replace_the_bundled_ones(model_folder, data, tmp_path):
    (tmp_path / "shop.yaml").write_text(
        "- id: opening\n"
        '  messages: ["When do you open?"]\n'
        '  must_include: [[nine, "9"]]\n'
        '  passing_answer: "At nine."\n'
    )
    scorecard = scorecard_of(
        model_folder, "--data", data, "--metrics", "chrf", "--golden", tmp_path / "shop.yaml", "--max-tokens", 8
    )
    rows = rows_by_name(scorecard)
    assert list(rows) == ["golden", "chrf"]
    assert rows["golden"]["num_dialogues"] == 1


def test_an_unknown_metric_is_rejected_with_the_nearest_name(model_folder, data):
    with pytest.raises(InvalidParameter, match="did you mean 'chrf'"):
        run(model_folder, "--data", data, "--metrics", "chfr")


def test_a_malformed_row_is_rejected_with_its_line_or_skipped(model_folder, data):
    with data.open("a") as file:
        file.write('{"messages": []}\n')
    with pytest.raises(InvalidData, match=r"line 61: .*--skip-bad-rows"):
        run(model_folder, "--data", data)
    result = run(model_folder, "--data", data, "--skip-bad-rows", "--metrics", "bits_per_byte", "--json")
    assert json.loads(result.stdout)["metadata"]["dialogues"] == 60
    assert "1 bad row skipped" in result.stderr


def test_a_missing_model_is_rejected(tmp_path, data):
    with pytest.raises(ModelNotFound, match="There is no"):
        run(tmp_path / "none", "--data", data)


def test_missing_data_is_rejected(model_folder, tmp_path):
    with pytest.raises(InvalidData, match="There is no file or folder"):
        run(model_folder, "--data", tmp_path / "none.jsonl")


def test_data_without_samples_for_any_metric_is_rejected(model_folder, data):
    with pytest.raises(InvalidData, match="nothing to evaluate"):
        run(model_folder, "--data", data, "--metrics", "success")


@pytest.mark.costly
def test_max_tokens_applies_to_a_baseline(model_folder, data, monkeypatch):
    limits = set()
    generate = NgramBaseline.generate

    def recording_generate(baseline, queries, on_done):
        limits.add(baseline.max_tokens)
        return generate(baseline, queries, on_done)

    monkeypatch.setattr(NgramBaseline, "generate", recording_generate)
    run(
        f"ngram:{data}", "--data", data, "--against", model_folder, "--limit", 5, "--metrics", "chrf",
        "--max-tokens", 3,
    )  # fmt: skip
    assert limits == {3}


def test_an_interrupted_evaluation_says_how_to_continue(model_folder, data, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DecoderUnderTest, "loglikelihood", interrupt)
    result = run(model_folder, "--data", data, "--metrics", "bits_per_byte")
    assert result.exit_code == 130
    assert "The same command resumes: finished answers are in the cache" in unwrapped(result.stderr)
    result = run(model_folder, "--data", data, "--metrics", "bits_per_byte", "--no-cache")
    assert "No answers were saved" in result.stderr


def test_the_metadata_has_the_command_in_shell_syntax(model_folder, data, monkeypatch):
    arguments = ["evaluate", str(model_folder), "--data", str(data)]
    monkeypatch.setattr(sys, "argv", ["/bin/turnwise", *arguments])
    scorecard = scorecard_of(*arguments[1:], "--metrics", "bits_per_byte")
    assert shlex.split(scorecard["metadata"]["command"]) == ["turnwise", *arguments]


def test_progress_names_of_a_model_and_itself_are_distinct(model_folder, intent_dialogues):
    def open_model():
        return open_model_under_test(str(model_folder), SqliteResponseCache(None))

    names = []
    metrics = load_metrics(["bits_per_byte"])
    evaluate(open_model, open_model, intent_dialogues[:5], metrics, on_progress=lambda name, *_: names.append(name))
    assert list(dict.fromkeys(names)) == [model_folder.name, f"{model_folder.name} (base)"]


def test_a_temperature_sweep_generates_greedy_answers_once(intent_dialogues):
    class EchoSystem:
        name = "echo"

        def generate(self, queries, on_done):
            batches.append([(query.greedy, query.temperature, seed) for query, seed in queries])
            return [GenerationOutput(query.history[-1].content) for query, _ in queries]

    batches = []
    points = run_temperature_sweep(EchoSystem(), intent_dialogues[:4], [0.0, 0.7], [0, 1, 2])
    assert [point.temperature for point in points] == [0.0, 0.7]
    assert batches[0] == [(True, None, 0)] * 4
    assert len(batches[1]) == 12


def test_the_table_shows_a_missing_value_as_a_dash():
    nan = float("nan")
    no_interval = ConfidenceInterval(nan, nan)
    row = ScorecardRow("x", "label", "", "higher", False, False, ".1%", 3, nan, no_interval, (nan,))
    compared = replace(row, base_value=0.5, base_interval=no_interval, difference=nan, difference_interval=no_interval)
    for rows in ((row,), (compared,)):
        output = io.StringIO()
        print_scorecard(Scorecard(None, ("No metric was tested.",), rows), Console(file=output, width=100))
        assert "nan" not in output.getvalue()
        assert "–" in output.getvalue()
    # A comparison is shown as one even if it has no verdict.
    assert "No metric was tested." in output.getvalue()
    assert "50.0%" in output.getvalue()


def test_read_options_apply_to_the_data_and_to_the_file_of_a_baseline(model_folder, tmp_path):
    table = tmp_path / "fragen.csv"
    rows = "".join(f"Geöffnet um {hour}?;Ja, um {hour}\n" for hour in range(8, 18))
    table.write_bytes(("Frage;Antwort\n" + rows).encode("windows-1252"))
    arguments = (model_folder, "--data", table, "--against", f"ngram:{table}", "--metrics", "bits_per_byte")
    with pytest.raises(InvalidData, match="encoding"):
        run(*arguments)
    scorecard = scorecard_of(*arguments, "--encoding", "windows-1252", "--columns", "user=Frage,assistant=Antwort")
    assert rows_by_name(scorecard)["bits_per_byte"]["num_dialogues"] == 10
