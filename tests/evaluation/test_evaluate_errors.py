"""What `turnwise evaluate` says before anything is measured: what is missing, refused, or has nothing to look at."""

import json
import shutil

import pytest
from evaluate_command import by_name, card, run, told

from turnwise.core.errors import InvalidData, ModelNotFound, SaveFailed, UserError

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture
def nothing_measured(monkeypatch):
    monkeypatch.setattr(
        "turnwise.evaluation.evaluate.run_metrics", lambda *_, **__: pytest.fail("something was measured")
    )


SWEEP = "--temperature-sweep"


class TestWithoutData:
    def test_written_cases_need_none(self, model_folder):
        found = card(model_folder, "--metrics", "golden", "--max-tokens", 4)
        assert list(by_name(found)) == ["golden"]
        assert found["metadata"]["dialogues"] == 0
        assert "file" not in found["metadata"]

    @pytest.mark.parametrize(
        "words", [("--metrics", "golden,chrf"), ("--metrics", "golden", "--temperature-sweep"), ()]
    )
    def test_what_looks_at_dialogues_says_so(self, model_folder, words, nothing_measured):
        with pytest.raises(UserError, match=rf"^Pass held-out dialogues .*--data .* (chrf|{SWEEP})") as caught:
            run(model_folder, *words)
        first, second, *_ = str(caught.value).split(". ")
        assert "chrf" not in first + second  # what to do comes before the metrics' names

    def test_what_looks_at_none_is_known(self):
        from turnwise.evaluation.metrics import load_metrics

        assert {each.NAME for each in load_metrics() if each.IS_PROBE} == {
            "golden",
            "contradiction",
            "recall",
            "knowledge",
        }
        assert all(bool(each.samples([], 0)) == each.IS_PROBE for each in load_metrics())


class TestNothingInTheData:
    def test_it_is_named(self, model_folder, data):
        words = (model_folder, "--data", data, "--limit", 5, "--max-tokens", 4, "--metrics")
        assert "The data has no samples for success." in told(run(*words, "success,chrf").stderr)
        assert "no samples for" not in run(*words, "chrf").stderr

    def test_where_only_written_cases_are_left_that_is_clear(self, model_folder, data):
        words = (model_folder, "--data", data, "--limit", 5, "--max-tokens", 4, "--metrics", "success,golden")
        assert "no samples for success: only golden is computed" in told(run(*words).stderr)

    def test_an_error_names_the_metrics(self, model_folder, data):
        with pytest.raises(InvalidData, match="no samples for success"):
            run(model_folder, "--data", data, "--metrics", "success")


@pytest.mark.usefixtures("nothing_measured")
class TestRefusedBeforeAnythingIsMeasured:
    @pytest.mark.parametrize("side", ["none", "retrieval:none.jsonl", "ngram:none.jsonl"])
    def test_another_side_that_is_not_there(self, model_folder, data, side):
        with pytest.raises((ModelNotFound, InvalidData), match="There is no"):
            run(model_folder, "--data", data, "--against", side)

    def test_a_place_that_takes_no_report(self, model_folder, data, tmp_path):
        (tmp_path / "file").touch()
        for out in (tmp_path / "file", tmp_path / "file" / "report"):
            with pytest.raises(SaveFailed, match="No report can be written"):
                run(model_folder, "--data", data, "--out", out)

    def test_a_condition_on_a_verdict_that_nothing_could_decide(self, model_folder, data):
        words = (model_folder, "--data", data, "--fail-if-worse")
        with pytest.raises(UserError, match=r"needs a metric that counts for the verdict; bleu does not.*chrf"):
            run(*words, "--metrics", "bleu", "--against", model_folder)
        with pytest.raises(UserError, match="needs a metric that counts for the verdict; bleu does not"):
            run(*words, "--metrics", "bleu,success", "--against", model_folder)
        with pytest.raises(UserError, match="needs --against"):
            run(*words, "--metrics", "chrf")

    def test_bits_of_a_baseline(self, model_folder, data):
        with pytest.raises(UserError, match="--quantize"):
            run(f"ngram:{data}", "--data", data, "--quantize", "int8", "--against", model_folder)


class TestDialoguesThatATemplateRefuses:
    @pytest.fixture
    def strict(self, model_folder, tmp_path):
        """A model that wants to be asked first."""
        folder = tmp_path / "strict"
        shutil.copytree(model_folder, folder)
        template = folder / "chat_template.jinja"
        refuse = "{% if messages[0].role != 'user' %}{{ raise_exception('Users begin.') }}{% endif %}"
        template.write_text(refuse + template.read_text())
        return folder

    @pytest.fixture
    def mixed(self, data):
        row = {
            "messages": [{"role": "system", "content": "Hi"}, *json.loads(data.read_text().splitlines()[0])["messages"]]
        }
        data.write_text(json.dumps(row) + "\n" + data.read_text())
        return data

    @pytest.mark.parametrize("first", [True, False])
    def test_are_named_before_anything_is_measured(self, model_folder, strict, mixed, first, nothing_measured):
        model, against = (strict, model_folder) if first else (model_folder, strict)
        with pytest.raises(InvalidData, match=r"line 1: .*template of strict rejects it.*Users begin.*--skip-bad-rows"):
            run(model, "--data", mixed, "--against", against, "--metrics", "bits_per_byte")

    def test_are_left_out_for_both_where_that_is_wanted(self, model_folder, strict, mixed):
        words = (model_folder, "--data", mixed, "--against", strict, "--metrics", "bits_per_byte", "--limit", 5)
        result = run(*words, "--skip-bad-rows", "--json")
        assert json.loads(result.stdout)["metadata"]["dialogues"] == 5
        assert "Dialogues skipped: 1. The first:" in told(result.stderr)
