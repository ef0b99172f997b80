"""`turnwise evaluate` as a person types it."""

import json

import pytest
import torch
from evaluate_command import by_name, card, run, told

from turnwise.core.errors import InvalidData, InvalidParameter, ModelNotFound

FEW = "chrf,bits_per_byte,selection"


pytestmark = pytest.mark.usefixtures("on_the_cpu")


def test_json_is_one_object_on_stdout(model_folder, data):
    found = card(model_folder, "--data", data, "--metrics", FEW, "--max-tokens", 8)
    assert found["verdict"] is None
    lines = by_name(found)
    assert list(lines) == ["selection", "chrf", "bits_per_byte"]
    assert all(line["dialogues"] == 60 for line in lines.values())
    assert len(lines["chrf"]["values_by_seed"]) == 3
    assert lines["bits_per_byte"]["value"] > 2  # an untrained model
    assert lines["selection"]["interval"]["low"] < lines["selection"]["value"] < lines["selection"]["interval"]["high"]
    about = found["metadata"]
    assert about["dialogues"] == 60
    assert about["seeds"] == [0, 1, 2]
    assert about["model"]["fingerprint"].startswith("fp_")
    assert about["versions"]["turnwise"]


def test_a_table_otherwise(model_folder, data):
    told = " ".join(
        run(model_folder, "--data", data, "--limit", 30, "--metrics", FEW, "--max-tokens", 8).stdout.split()
    )
    assert "bits per byte" in told
    assert "response selection" in told
    assert "Verdict" not in told


def test_a_model_against_itself_is_no_difference_and_costs_nothing_twice(model_folder, data, tmp_path):
    words = (model_folder, "--data", data, "--against", model_folder, "--metrics", FEW, "--max-tokens", 8)
    result = run(*words, "--out", tmp_path / "report", "--fail-if-worse")
    assert "Verdict: no difference" in result.stdout
    assert result.exit_code == 0
    written = json.loads((tmp_path / "report" / "scorecard.json").read_text())
    assert written["verdict"] == "no difference"
    assert all(line["difference"] == 0 for line in written["rows"])
    assert "No difference" in (tmp_path / "report" / "report.html").read_text()


def test_a_worse_model_fails_where_that_is_asked(model_folder, data, tmp_path, tiny_config, tokenizer):
    """The base has learned nothing either, but this one is sure of it."""
    from turnwise.models.checkpoint import create
    from turnwise.training.export import export_model

    worse = create(tiny_config, seed=0)
    with torch.no_grad():
        worse.decoder.embed.weight *= 40
    export_model(tmp_path / "worse", worse, tokenizer)
    words = (
        tmp_path / "worse",
        "--data",
        data,
        "--against",
        model_folder,
        "--metrics",
        "bits_per_byte",
        "--fail-if-worse",
    )
    result = run(*words)
    assert result.exit_code == 1
    assert "Verdict: worse" in result.stdout
    assert "worse on 1 (bits per byte)" in result.stdout


def test_too_few_replies_leave_selection_out(model_folder, data):
    assert "selection" not in by_name(card(model_folder, "--data", data, "--limit", 10, "--metrics", FEW))


@pytest.mark.parametrize("kind", ["retrieval", "ngram"])
def test_a_baseline_on_either_side(model_folder, data, kind):
    found = card(f"{kind}:{data}", "--data", data, "--against", model_folder, "--metrics", "chrf", "--max-tokens", 8)
    assert found["verdict"] == "better"  # it has seen the answers
    found = card(model_folder, "--data", data, "--against", f"{kind}:{data}", "--metrics", "chrf", "--max-tokens", 8)
    assert found["verdict"] == "worse"


def test_what_was_answered_before_is_not_asked_again(model_folder, data, monkeypatch):
    from turnwise.engine.engine import Engine

    words = (model_folder, "--data", data, "--limit", 20, "--metrics", FEW, "--max-tokens", 8)
    first = card(*words)
    monkeypatch.setattr(Engine, "submit", lambda *_: pytest.fail("it was known"))
    assert card(*words)["rows"] == first["rows"]


def test_a_curve_over_temperatures(model_folder, data, tmp_path):
    words = (model_folder, "--data", data, "--limit", 5, "--metrics", "chrf", "--max-tokens", 8, "--temperature-sweep")
    run(*words, "--out", tmp_path / "report")
    assert (tmp_path / "report" / "temperature_sweep.svg").is_file()


def test_golden_cases_of_ones_own(model_folder, data, tmp_path):
    (tmp_path / "shop.yaml").write_text(
        '- id: opening\n  messages: ["When do you open?"]\n  must_include: [[nine, "9"]]\n  passing_answer: "At nine."\n'
    )
    words = (model_folder, "--data", data, "--metrics", "chrf", "--golden", tmp_path / "shop.yaml", "--max-tokens", 8)
    lines = by_name(card(*words))
    assert list(lines) == ["golden", "chrf"]
    assert lines["golden"]["dialogues"] == 1


def test_an_unknown_metric_is_told_the_nearest(model_folder, data):
    with pytest.raises(InvalidParameter, match="did you mean 'chrf'"):
        run(model_folder, "--data", data, "--metrics", "chfr")


def test_a_malformed_row_names_file_and_line(model_folder, data):
    with data.open("a") as file:
        file.write('{"messages": []}\n')
    with pytest.raises(InvalidData, match=r"line 61: .*--skip-bad-rows"):
        run(model_folder, "--data", data)
    result = run(model_folder, "--data", data, "--skip-bad-rows", "--metrics", "bits_per_byte", "--json")
    assert json.loads(result.stdout)["metadata"]["dialogues"] == 60
    assert "1 bad rows skipped" in result.stderr


def test_no_model(tmp_path, data):
    with pytest.raises(ModelNotFound, match="There is no"):
        run(tmp_path / "none", "--data", data)


def test_no_data(model_folder, tmp_path):
    with pytest.raises(InvalidData, match="There is no file or folder"):
        run(model_folder, "--data", tmp_path / "none.jsonl")


def test_nothing_that_a_metric_could_look_at(model_folder, data):
    with pytest.raises(InvalidData, match="nothing to evaluate"):
        run(model_folder, "--data", data, "--metrics", "success")


def test_a_baseline_says_as_much_as_was_asked_for(model_folder, data, monkeypatch):
    from turnwise.evaluation.baselines.ngram import NgramBaseline

    seen = []
    real = NgramBaseline.generate
    monkeypatch.setattr(NgramBaseline, "generate", lambda self, *rest: [seen.append(self.most), real(self, *rest)][1])
    words = (f"ngram:{data}", "--data", data, "--against", model_folder, "--limit", 5, "--metrics", "chrf")
    run(*words, "--max-tokens", 3)
    assert set(seen) == {3}


def test_what_was_stopped_is_told_to_go_on(model_folder, data, monkeypatch):
    from turnwise.evaluation.model_under_test import DecoderUnderTest

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DecoderUnderTest, "loglikelihood", stopped)
    result = run(model_folder, "--data", data, "--metrics", "bits_per_byte")
    assert result.exit_code == 130
    assert "The same command continues: finished answers are in the cache" in told(result.stderr)
    result = run(model_folder, "--data", data, "--metrics", "bits_per_byte", "--no-cache")
    assert "No answers were saved" in result.stderr


def test_the_command_in_a_report_can_be_typed_again(model_folder, data, monkeypatch):
    import shlex
    import sys

    words = ["evaluate", str(model_folder), "--data", str(data)]
    monkeypatch.setattr(sys, "argv", ["/bin/turnwise", *words])
    found = card(*words[1:], "--metrics", "bits_per_byte")
    assert shlex.split(found["metadata"]["command"]) == ["turnwise", *words]


def test_a_model_and_itself_rounded_have_bars_of_their_own(model_folder, desk):
    from turnwise.app.systems_under_test import open_model_under_test
    from turnwise.evaluation.evaluate import evaluate as measured
    from turnwise.evaluation.metrics import load_metrics
    from turnwise.evaluation.response_cache import ResponseCache

    def opens():
        return open_model_under_test(str(model_folder), ResponseCache(None))

    seen = []
    measured(opens, opens, desk[:5], load_metrics(["bits_per_byte"]), on_progress=lambda name, *_: seen.append(name))
    assert list(dict.fromkeys(seen)) == [model_folder.name, f"{model_folder.name} (base)"]


def test_the_likeliest_answer_of_a_curve_is_asked_for_once(desk):
    from turnwise.evaluation.samples import GenerationOutput
    from turnwise.evaluation.temperature_sweep import run_temperature_sweep

    class Echo:
        name = "echo"

        def generate(self, queries, on_done):
            asked.append([(ask.greedy, ask.temperature, seed) for ask, seed in queries])
            return [GenerationOutput(ask.history[-1].content) for ask, _ in queries]

    asked = []
    points = run_temperature_sweep(Echo(), desk[:4], [0.0, 0.7], [0, 1, 2])
    assert [point.temperature for point in points] == [0.0, 0.7]
    assert asked[0] == [(True, None, 0)] * 4
    assert len(asked[1]) == 12


def test_a_table_shows_what_is_no_number_as_a_dash():
    import io
    from dataclasses import replace

    from rich.console import Console

    from turnwise.cli.scorecard_table import print_scorecard
    from turnwise.evaluation.scorecard import Scorecard, ScorecardRow
    from turnwise.evaluation.statistics import ConfidenceInterval

    nan = float("nan")
    nothing = ConfidenceInterval(nan, nan)
    line = ScorecardRow("x", "label", "", "higher", False, False, ".1%", 3, nan, nothing, (nan,))
    compared = replace(line, base=0.5, base_interval=nothing, difference=nan, difference_interval=nothing)
    for lines, verdict in (([line], None), ([compared], None)):
        out = io.StringIO()
        print_scorecard(Scorecard(verdict, ("Nothing was judged.",), tuple(lines)), Console(file=out, width=100))
        assert "nan" not in out.getvalue()
        assert "–" in out.getvalue()
    assert "Nothing was judged." in out.getvalue()  # without a verdict too, what was compared is shown as such
    assert "50.0%" in out.getvalue()


def test_data_and_a_baselines_file_are_read_as_the_flags_say(model_folder, tmp_path):
    table = tmp_path / "fragen.csv"
    rows = "".join(f"Geöffnet um {hour}?;Ja, um {hour}\n" for hour in range(8, 18))
    table.write_bytes(("Frage;Antwort\n" + rows).encode("windows-1252"))
    words = (model_folder, "--data", table, "--against", f"ngram:{table}", "--metrics", "bits_per_byte")
    with pytest.raises(InvalidData, match="encoding"):
        run(*words)
    found = card(*words, "--encoding", "windows-1252", "--columns", "user=Frage,assistant=Antwort")
    assert by_name(found)["bits_per_byte"]["dialogues"] == 10
