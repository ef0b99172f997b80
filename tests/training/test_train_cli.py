"""The command `turnwise train`."""

import io
import json
import shlex

import pytest
import torch
import typer
import yaml
from rich.console import Console
from training_dialogues import small_talk, write_chats
from typer.testing import CliRunner

from turnwise.app.base_comparison import ComparisonSize, fit_comparison
from turnwise.cli.before_after_report import report_before_after
from turnwise.cli.console_output import one_line
from turnwise.cli.recipe_flags import RecipeFlags
from turnwise.cli.train import train
from turnwise.core.errors import InvalidData, InvalidParameter, ModelNotFound
from turnwise.training.methods import METHODS
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.recipe import parse_recipe


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def run(*arguments):
    """Run the command; errors propagate, as to the main command."""
    app = typer.Typer()
    app.command()(train)
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(kind, *arguments):
    """The message of an error with exit code 2, one line."""
    with pytest.raises(kind) as caught:
        run(*arguments)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def nothing_left(tmp_path):
    """The test must leave the folder unchanged."""
    before = sorted(tmp_path.rglob("*"))
    yield
    assert sorted(tmp_path.rglob("*")) == before


SHORT = ("--max-seq-len", 64, "--batch-size", 4, "--max-steps", 12, "--learning-rate", 0.01)


@pytest.fixture(scope="module")
def finished_run(base_folder, chats, valid_chats, tmp_path_factory):
    """A finished run: its folder and the result of the command."""
    out = tmp_path_factory.mktemp("cli") / "my [bold] model"
    result = run(
        chats, "--base-model", base_folder, "--out", out, "--valid", valid_chats, "--test", valid_chats, *SHORT
    )
    return out, result


@pytest.mark.costly
class TestRun:
    def test_a_run_prints_its_results_to_stderr(self, finished_run):
        out, result = finished_run
        assert result.exit_code == 0
        assert result.stdout == ""
        output = " ".join(result.stderr.split())
        for words in (
            "examples, ",
            "tokens; validation ",
            "validation perplexity",
            "test perplexity",
            "12 steps in",
            "best weights from step",
            "Chat with it: turnwise chat",
            out.name,
        ):
            assert words in output

    def test_a_run_prints_replies_before_and_after(self, finished_run):
        out, result = finished_run
        samples = json.loads((out / "result.json").read_text(encoding="utf-8"))["samples"]
        assert result.stderr.count("  before → ") == result.stderr.count("  after  → ") == len(samples) == 3
        assert f"“{samples[0]['question']}”" in result.stderr

    def test_a_run_ends_with_an_evaluation_report(self, finished_run):
        out, result = finished_run
        card = json.loads((out / "report" / "scorecard.json").read_text())
        assert card["verdict"] in ("better", "mixed")
        lines = {line["name"]: line for line in card["rows"]}
        assert lines["bits_per_byte"]["verdict"] == "better"
        assert lines["bits_per_byte"]["num_dialogues"] == 8
        assert f"Verdict: {card['verdict']}" in result.stderr
        page = (out / "report" / "report.html").read_text()
        assert page.count("<svg") == 2  # differences and loss
        assert "report.html" in result.stderr

    @pytest.mark.parametrize(
        ("fails", "error", "expected"),
        [
            (
                "turnwise.training.examples.holdout.held_out_dialogues",
                RuntimeError("a bug"),
                "because of an internal error (RuntimeError)",
            ),
            ("turnwise.training.examples.holdout.held_out_dialogues", KeyboardInterrupt(), "--against"),
            ("turnwise.evaluation.report.write_report", OSError("no space [left]"), "No report: no space [left]"),
            (
                "turnwise.cli.scorecard_table.print_scorecard",
                ValueError("a bug"),
                "because of an internal error (ValueError)",
            ),
        ],
    )
    def test_a_failed_report_does_not_fail_the_run(self, finished_run, monkeypatch, fails, error, expected):
        from turnwise.training.recipe import load_recipe

        def fail(*_, **__):
            raise error

        monkeypatch.setattr(fails, fail)
        console = Console(file=io.StringIO(), width=1000)
        report_before_after(console, load_recipe(finished_run[0] / "recipe.yaml"), "quick")
        output = console.file.getvalue()
        assert expected in output
        if isinstance(error, KeyboardInterrupt):
            assert shlex.quote(str(finished_run[0])) in output  # brackets and spaces are escaped

    def test_the_report_fits_into_the_remaining_time(self):
        assert fit_comparison(1000.0, 1.0, 50) == ComparisonSize(50, has_golden=True)
        assert fit_comparison(200.0, 1.0, 50) == ComparisonSize(50, has_golden=False)
        assert fit_comparison(20.0, 1.0, 50) == ComparisonSize(10, has_golden=False)
        assert fit_comparison(-5.0, 1.0, 50).max_dialogues < 1

    def test_without_remaining_time_there_is_no_report(self, finished_run):
        from turnwise.training.recipe import load_recipe

        console = Console(file=io.StringIO(), width=1000)
        report_before_after(console, load_recipe(finished_run[0] / "recipe.yaml"), "quick", 1.0, 1.0)
        assert "no time is left" in console.file.getvalue()
        assert "turnwise evaluate" in console.file.getvalue()

    def test_flags_become_the_recipe(self, finished_run, base_folder, chats, valid_chats):
        saved = yaml.safe_load((finished_run[0] / "recipe.yaml").read_text(encoding="utf-8"))
        assert saved["model"]["from"] == str(base_folder)
        [source] = saved["data"]["train"]
        expected = {"path": str(chats), "repeat": 1.0, "weight": None, "max_items": None, "split": None, "format": None}
        assert expected.items() <= source.items()
        assert saved["data"]["valid"][0]["path"] == saved["data"]["test"][0]["path"] == str(valid_chats)
        expected = {"max_seq_len": 64, "batch_size": 4, "max_steps": 12, "learning_rate": 0.01, "epochs": 3.0}
        assert expected.items() <= saved["training"].items()
        assert saved["objective"] == {"name": "sft", "turns": "all"}
        assert saved["method"] == "full"


class TestRecipeFiles:
    @pytest.fixture
    def recipe_file(self, values, tmp_path):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    def test_flags_override_the_recipe(self, recipe_file, tmp_path):
        flags = RecipeFlags(
            "other",
            tmp_path / "there",
            "clm",
            "lora:rank=3",
            {"valid": None, "test": tmp_path / "t", "skip_bad_rows": True},
            {"batch_size": 2},
            {},
        )
        recipe = flags.override_recipe(recipe_file)
        assert (recipe.model.source, recipe.out) == ("other", str(tmp_path / "there"))
        assert recipe.objective == OBJECTIVES.parse_plugin("clm")
        assert recipe.method == METHODS.parse_plugin({"name": "lora", "rank": 3})
        assert (recipe.training.batch_size, recipe.training.max_seq_len, recipe.training.seed) == (2, 64, 3)
        assert recipe.data.test[0].path == str(tmp_path / "t")
        assert recipe.data.skip_bad_rows

    def test_the_replay_ratio_is_added_to_the_data_section(self, recipe_file):
        flags = RecipeFlags(None, None, None, None, {"valid": None, "replay_ratio": 0.5}, {}, {})
        recipe = flags.override_recipe(recipe_file)
        assert recipe.data.replay_ratio == 0.5
        assert recipe.data.valid

    def test_without_flags_the_recipe_is_unchanged(self, recipe_file, values):
        none = RecipeFlags(None, None, None, None, {"valid": None, "test": None}, {}, {})
        assert none.override_recipe(recipe_file) == parse_recipe(values, origin="test")

    @pytest.mark.costly
    @pytest.mark.usefixtures("no_loss_plot")
    def test_a_recipe_file_runs(self, recipe_file, out):
        result = run(recipe_file, "--max-steps", 2, "--evaluation", "none")
        assert not (out / "report").exists()
        assert result.exit_code == 0
        assert "2 steps in" in result.stderr
        assert (out / "model.safetensors").is_file()

    def test_a_wrong_key_is_rejected_in_one_sentence(self, values, tmp_path, out):
        values["training"]["learning_rat"] = 1
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values))
        message = refused(InvalidParameter, path)
        assert message == f"{path}: unknown key 'training.learning_rat': did you mean 'learning_rate'?"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["recipe.yaml"]


@pytest.mark.usefixtures("nothing_left")
class TestErrors:
    def test_a_missing_model_is_rejected(self, chats, out, tmp_path):
        assert "There is no" in refused(ModelNotFound, chats, "--base-model", tmp_path / "none", "--out", out)

    def test_missing_data_is_rejected(self, base_folder, tmp_path, out):
        message = refused(InvalidData, tmp_path / "none.jsonl", "--base-model", base_folder, "--out", out)
        assert "There is no file or folder" in message

    def test_a_missing_output_folder_is_rejected(self, chats):
        assert "--out" in refused(InvalidParameter, chats)

    def test_a_value_out_of_range_is_rejected(self, chats, base_folder, out):
        message = refused(InvalidParameter, chats, "--base-model", base_folder, "--out", out, "--learning-rate", 3)
        assert "--learning-rate: should be less than 1, got 3.0." in message

    def test_an_unknown_objective_is_rejected(self, chats, base_folder, out):
        message = refused(InvalidParameter, chats, "--base-model", base_folder, "--out", out, "--objective", "sfd")
        assert "did you mean 'sft'?" in message


class TestBadRows:
    @pytest.fixture
    def partly_bad(self, tmp_path):
        path = write_chats(tmp_path / "chats.jsonl", small_talk(20))
        with path.open("a") as file:
            file.write('{"messages": [{"role": "user"}]}\n')
        return path

    def test_a_malformed_row_names_file_and_line(self, partly_bad, base_folder, out):
        message = refused(InvalidData, partly_bad, "--base-model", base_folder, "--out", out, *SHORT)
        assert f"{partly_bad}, line 21" in message
        assert "--skip-bad-rows" in message
        assert not out.exists()

    @pytest.mark.costly
    @pytest.mark.usefixtures("no_loss_plot")
    def test_bad_rows_are_skipped_and_counted(self, partly_bad, base_folder, out):
        result = run(
            partly_bad, "--base-model", base_folder, "--out", out, "--skip-bad-rows", *SHORT, "--max-steps", 2,
            "--evaluation", "none",
        )  # fmt: skip
        assert result.exit_code == 0
        assert "1 bad row skipped" in " ".join(result.stderr.split())
        assert json.loads((out / "result.json").read_text())["bad_rows"] == 1


def test_control_characters_of_a_reply_are_replaced():
    assert one_line("a\n b\x1b[2J\x07") == "a b�[2J�"
    assert len(one_line("word " * 99)) == 200


def test_help_has_examples():
    output = " ".join(run("--help").output.split())
    assert "turnwise train recipe.yaml" in output


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_search_prints_every_trial(base_folder, chats, valid_chats, tmp_path):
    result = run(
        chats, "--base-model", base_folder, "--valid", valid_chats, "--out", tmp_path / "out", "--max-steps", 3,
        "--batch-size", 2, "--max-seq-len", 64, "--hpo-trials", 2,
    )  # fmt: skip
    assert result.exit_code == 0
    output = " ".join(result.stderr.split())
    assert "trial 1 of 2: learning_rate " in output
    assert "best of 2 trials (0 pruned)" in output
    assert (tmp_path / "out" / "search.png").is_file()


def test_a_dry_run_prints_targets_and_writes_nothing(base_folder, chats, tmp_path):
    out = tmp_path / "out"
    result = run(chats, "--base-model", base_folder, "--out", out, "--max-seq-len", 64, "--batch-size", 4, "--dry-run")
    assert result.exit_code == 0
    output = " ".join(result.stderr.split())
    for arguments in (
        "tokens that are trained on",
        "parameters are trained",
        "% full",
        "tokens/s, about",
        "GB of memory",
        "on its way.<|end|>",
    ):
        assert arguments in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "flips", "is_regression"),
    [
        ([("golden", "no difference"), ("chrf", "worse")], [(True, False), (False, True)], False),
        ([("golden", "worse")], [], True),
        ([("golden", "no difference")], [(True, True)], True),
    ],
)
def test_a_regression_is_significant_or_a_safety_case(lines, flips, is_regression):
    from types import SimpleNamespace

    from turnwise.app.base_comparison import has_regressed

    card = SimpleNamespace(
        rows=[SimpleNamespace(name=name, verdict=verdict) for name, verdict in lines],
        flips=[SimpleNamespace(is_loss=is_loss, is_safety=is_safety) for is_loss, is_safety in flips],
    )
    assert has_regressed(card) == is_regression
