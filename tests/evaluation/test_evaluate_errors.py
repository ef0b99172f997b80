"""What `turnwise evaluate` rejects or reports before the first query."""

import json
import shutil

import pytest
from evaluate_command import rows_by_name, run, scorecard_of, unwrapped

from turnwise.core.errors import InvalidData, ModelNotFound, SaveFailed, UserError
from turnwise.evaluation.metrics import load_metrics

SWEEP = "--temperature-sweep"

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture
def no_queries(monkeypatch):
    """Fail if a metric is computed."""
    monkeypatch.setattr("turnwise.evaluation.evaluate.run_metrics", lambda *_, **__: pytest.fail("a metric was run"))


class TestWithoutData:
    @pytest.mark.costly
    def test_probes_are_computed(self, model_folder):
        scorecard = scorecard_of(model_folder, "--metrics", "golden", "--max-tokens", 4)
        assert list(rows_by_name(scorecard)) == ["golden"]
        assert scorecard["metadata"]["dialogues"] == 0
        assert "file" not in scorecard["metadata"]

    @pytest.mark.parametrize(
        "arguments", [("--metrics", "golden,chrf"), ("--metrics", "golden", "--temperature-sweep"), ()]
    )
    def test_a_metric_on_dialogues_is_rejected(self, model_folder, arguments, no_queries):
        with pytest.raises(UserError, match=rf"^Without --data, only .* pass --data FILE, .* (chrf|{SWEEP})") as caught:
            run(model_folder, *arguments)
        advice, _ = str(caught.value).split(". ", 1)
        assert "chrf" not in advice  # the advice comes before the names of the metrics

    def test_exactly_the_probes_have_samples(self):
        probes = {metric.NAME for metric in load_metrics() if metric.IS_PROBE}
        assert probes == {"golden", "contradiction", "recall", "knowledge"}
        assert all(bool(metric.samples([], 0)) == metric.IS_PROBE for metric in load_metrics())


class TestMetricsWithoutSamples:
    @pytest.mark.costly
    def test_metrics_without_samples_are_reported(self, model_folder, data):
        arguments = (model_folder, "--data", data, "--limit", 5, "--max-tokens", 4, "--metrics")
        assert "The data has no samples for success." in unwrapped(run(*arguments, "success,chrf").stderr)
        assert "no samples for" not in run(*arguments, "chrf").stderr

    @pytest.mark.costly
    def test_the_report_says_if_only_probes_are_left(self, model_folder, data):
        result = run(model_folder, "--data", data, "--limit", 5, "--max-tokens", 4, "--metrics", "success,golden")
        assert "no samples for success: only golden is computed" in unwrapped(result.stderr)

    def test_if_no_metric_has_samples_an_error_names_the_metrics(self, model_folder, data):
        with pytest.raises(InvalidData, match="no samples for success"):
            run(model_folder, "--data", data, "--metrics", "success")


@pytest.mark.usefixtures("no_queries")
class TestRejectedBeforeTheFirstQuery:
    @pytest.mark.parametrize("base", ["none", "retrieval:none.jsonl", "ngram:none.jsonl"])
    def test_a_missing_base(self, model_folder, data, base):
        with pytest.raises((ModelNotFound, InvalidData), match="There is no"):
            run(model_folder, "--data", data, "--against", base)

    def test_a_report_folder_that_cannot_be_written(self, model_folder, data, tmp_path):
        (tmp_path / "file").touch()
        for out in (tmp_path / "file", tmp_path / "file" / "report"):
            with pytest.raises(SaveFailed, match="No report can be written"):
                run(model_folder, "--data", data, "--out", out)

    def test_fail_if_worse_without_a_possible_verdict(self, model_folder, data):
        arguments = (model_folder, "--data", data, "--fail-if-worse")
        message = "needs a metric that counts for the verdict; bleu cannot decide it"
        with pytest.raises(UserError, match=f"{message}.*chrf"):
            run(*arguments, "--metrics", "bleu", "--against", model_folder)
        with pytest.raises(UserError, match=message):  # success counts, but has no samples in this data
            run(*arguments, "--metrics", "bleu,success", "--against", model_folder)
        with pytest.raises(UserError, match="needs a model to compare with: add --against MODEL"):
            run(*arguments, "--metrics", "chrf")

    def test_quantization_of_a_baseline(self, model_folder, data):
        with pytest.raises(UserError, match="--quantize"):
            run(f"ngram:{data}", "--data", data, "--quantize", "int8", "--against", model_folder)


class TestDialoguesThatAChatTemplateRejects:
    @pytest.fixture
    def strict_model(self, model_folder, tmp_path):
        """A model whose template needs the first message to be the user's."""
        folder = tmp_path / "strict"
        shutil.copytree(model_folder, folder)
        template = folder / "chat_template.jinja"
        check = "{% if messages[0].role != 'user' %}{{ raise_exception('Users begin.') }}{% endif %}"
        template.write_text(check + template.read_text())
        return folder

    @pytest.fixture
    def mixed_data(self, data):
        """The data with a first dialogue that begins with a system message."""
        messages = json.loads(data.read_text().splitlines()[0])["messages"]
        row = {"messages": [{"role": "system", "content": "Hi"}, *messages]}
        data.write_text(json.dumps(row) + "\n" + data.read_text())
        return data

    @pytest.mark.parametrize("is_strict_first", [True, False])
    def test_a_rejected_dialogue_is_named_before_the_first_query(
        self, model_folder, strict_model, mixed_data, is_strict_first, no_queries
    ):
        model, base = (strict_model, model_folder) if is_strict_first else (model_folder, strict_model)
        with pytest.raises(
            InvalidData, match=r"line 1: .*template of .*strict rejects it.*Users begin.*--skip-bad-rows"
        ):
            run(model, "--data", mixed_data, "--against", base, "--metrics", "bits_per_byte")

    def test_skip_bad_rows_skips_a_rejected_dialogue_for_both_models(self, model_folder, strict_model, mixed_data):
        result = run(
            model_folder, "--data", mixed_data, "--against", strict_model, "--metrics", "bits_per_byte",
            "--limit", 5, "--skip-bad-rows", "--json",
        )  # fmt: skip
        assert json.loads(result.stdout)["metadata"]["dialogues"] == 5
        assert "Dialogues skipped: 1. The first:" in unwrapped(result.stderr)
