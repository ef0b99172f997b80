"""`turnwise evaluate` and `turnwise calibrate` on classifiers: output, reports, and what they refuse."""

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from annotated_data import train_classifier, write_labelled, write_tagged
from turnwise.app.classifiers import open_classifier
from turnwise.cli.main import app
from turnwise.models.classifier_config import read_classifier_config

pytestmark = pytest.mark.costly  # every test needs a trained classifier

TEXTS, WORDS = "sequence_classification", "token_classification"
VALID = {TEXTS: "valid.jsonl", WORDS: "valid.conll"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tokenizer, one_thread):
    """`trained(task)`: a trained classifier, an untrained one, and the folder of their data."""
    root, built = tmp_path_factory.mktemp("classifiers"), {}

    def make(task):
        if task not in built:
            (data := root / f"{task}-data").mkdir()
            (write_labelled if task == TEXTS else write_tagged)(data)
            folders = [root / f"{task}-{steps}" for steps in (60, 1)]
            for folder, steps in zip(folders, (60, 1), strict=True):
                train_classifier(folder, data, task, tokenizer, steps)
            built[task] = *folders, data
        return built[task]

    return make


def run(*arguments):
    """Run the command; errors are raised."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def fails(*arguments):
    """The message of the error."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 1
    assert getattr(result.exception, "exit_code", None) == 2, result.exception
    return str(result.exception)


def write_rows(path, *rows):
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


@pytest.mark.parametrize("task", [TEXTS, WORDS])
def test_the_report_compares_two_classifiers(trained, task, tmp_path):
    new, old, data = trained(task)
    result = run("evaluate", new, "--data", data / VALID[task], "--baseline", old, "--out", tmp_path / "out")
    assert "Verdict: better" in result.stdout
    assert "micro avg" in result.stdout
    assert "Expected calibration error" in result.stdout
    page, markdown = ((tmp_path / "out" / name).read_text() for name in ("report.html", "report.md"))
    for content in (page, markdown):
        assert "✓" in content.split("Metrics")[0]
        assert "expected calibration error" in content.lower()
        assert "Worst errors" in content
    assert "dialogue" not in markdown
    assert not re.search(r"https?://|<script|style=", page)
    values = json.loads((tmp_path / "out/scorecard.json").read_text())
    assert values["verdict"] == "better"
    assert (values["entities"] is None) == (task == TEXTS)
    for name in re.findall(r"\]\((\w+\.svg)\)", markdown):
        assert (tmp_path / "out" / name).read_text().startswith("<svg")
    assert "](reliability.svg)" in markdown


@pytest.mark.parametrize("task", [TEXTS, WORDS])
def test_errors_are_shown_with_their_texts(trained, task, tmp_path):
    new, old, data = trained(task)
    result = run("evaluate", old, "--data", data / VALID[task], "--against", new, "--out", tmp_path, "--json")
    values = json.loads(result.stdout)
    assert values["verdict"] == "worse"
    assert len(values["errors"]) == min(20, values["num_errors"])
    page = (tmp_path / "report.html").read_text()
    if task == TEXTS:
        assert values["errors"][0]["text"] in page
        assert values["confusions"][0]["count"] > 1
        assert 'class="matrix"' in page
    else:
        assert "<mark>New York <small>LOC</small></mark>" in page
        assert r"\[LOC New York\]" in (tmp_path / "report.md").read_text()


def test_fail_if_worse_is_the_exit_code(trained):
    new, old, data = trained(TEXTS)
    arguments = ("--data", data / VALID[TEXTS], "--fail-if-worse", "--against")
    assert run("evaluate", new, *arguments, old).exit_code == 0
    assert run("evaluate", old, *arguments, new).exit_code == 1


def test_texts_of_no_label_are_right_if_they_are_refused(trained, tmp_path):
    new, *_ = trained(TEXTS)
    path = write_rows(tmp_path / "texts.jsonl", ("Ada likes Rome.", "good"), ("Where is my lamp?", "oos"))
    scorecard = json.loads(run("evaluate", new, "--data", path, "--none-label", "oos", "--json").stdout)
    assert scorecard["rows"][0]["value"] == 0.5
    assert scorecard["errors"][0]["target"] == "(none)"


def test_unknown_labels_are_refused_or_reported(trained, tmp_path):
    new, *_ = trained(TEXTS)
    path = write_rows(tmp_path / "texts.jsonl", ("Ada likes Rome.", "good"), ("Dan", "x"), ("Ben", "x"), ("Cleo", "y"))
    message = fails("evaluate", new, "--data", path)
    assert "2 labels that the classifier does not know: 'x' (2), 'y' (1)" in message
    result = run("evaluate", new, "--data", path, "--skip-bad-rows", "--out", tmp_path / "out")
    for content in (result.stdout, (tmp_path / "out/report.html").read_text().replace("&#39;", "'")):
        assert "Left out: texts with 2 labels that the classifier does not know: 'x' (2), 'y' (1)." in content
    assert json.loads((tmp_path / "out/scorecard.json").read_text())["rows"][0]["num_dialogues"] == 1


def test_a_label_that_only_the_base_lacks_is_its_error(trained, tmp_path):
    new, old, data = trained(TEXTS)
    other = shutil.copytree(old, tmp_path / "other")
    config = json.loads((other / "classifier.json").read_text())
    (other / "classifier.json").write_text(json.dumps(config | {"labels": ["bad", "poor"]}))
    result = run("evaluate", new, "--data", data / VALID[TEXTS], "--against", other)
    assert re.search(r"does not know the label of \d+ texts; these count as its errors", result.stdout)


@pytest.mark.parametrize(
    ("option", "named"),
    [(("--metrics", "chrf"), "--metrics"), (("--temperature", "0.5"), "Sampling options"),
     (("--temperature-sweep",), "--temperature-sweep"), (("--no-cache",), "--no-cache"),
     (("--repeats", "2"), "--repeats")],
)  # fmt: skip
def test_options_of_chat_models_are_refused(trained, option, named):
    new, _, data = trained(TEXTS)
    assert fails("evaluate", new, "--data", data / VALID[TEXTS], *option).startswith(named)


def test_data_that_do_not_fit_are_refused(trained, tmp_path, model_folder):
    texts, words = trained(TEXTS)[0], trained(WORDS)[0]
    (tmp_path / "empty.jsonl").write_text("")
    assert "holds no annotated texts" in fails("evaluate", texts, "--data", tmp_path / "empty.jsonl")
    assert "holds sentences with tags" in fails("evaluate", texts, "--data", trained(WORDS)[2] / VALID[WORDS])
    assert "holds texts with labels" in fails("evaluate", words, "--data", trained(TEXTS)[2] / VALID[TEXTS])
    valid = trained(TEXTS)[2] / VALID[TEXTS]
    assert "pass --data" in fails("evaluate", texts)
    assert "cannot be compared" in fails("evaluate", texts, "--data", valid, "--against", words)
    assert "holds no classifier" in fails("evaluate", texts, "--data", valid, "--against", model_folder)
    assert "is a classifier" in fails("evaluate", model_folder, "--data", valid, "--against", texts)
    assert "--none-label is for classifiers" in fails("evaluate", model_folder, "--data", valid, "--none-label", "x")
    assert "is a label that the classifier" in fails("evaluate", texts, "--data", valid, "--none-label", "good")


class TestCalibrate:
    @pytest.fixture
    def classifier(self, trained, tmp_path):
        """A copy of the trained classifier, and its validation data."""
        new, _, data = trained(TEXTS)
        return shutil.copytree(new, tmp_path / "classifier"), data / VALID[TEXTS]

    @pytest.fixture
    def outside(self, tmp_path):
        """Texts of none of the labels."""
        path = tmp_path / "outside.txt"
        path.write_text("你好,请问我能帮你什么忙?\nOrder 1234567 costs 19.99 €.\n今天天气很好\n")
        return path

    def test_temperature_and_threshold_are_written(self, classifier, outside):
        folder, valid = classifier
        result = run("calibrate", folder, valid, "--out-of-scope", outside, "--max-false-alarms", 0.1)
        assert "40 texts with a label, 3 out of scope" in result.stdout
        config = read_classifier_config(folder)
        assert config.temperature != 1.0
        assert config.threshold_score == "energy"
        texts = [json.loads(line)["text"] for line in valid.read_text().splitlines()]
        refused = [not result.labels for result in open_classifier(str(folder)).classify(texts)]
        assert sum(refused) <= 4

    def test_texts_of_no_label_in_the_data_are_named(self, classifier, tmp_path):
        folder, valid = classifier
        path = tmp_path / "mixed.jsonl"
        path.write_text(valid.read_text() + json.dumps({"text": "Order 1234567", "label": "oos"}) + "\n")
        assert "'oos' (1)" in fails("calibrate", folder, path)
        assert "40 texts with a label, 1 out of scope" in run("calibrate", folder, path, "--none-label", "oos").stdout
        assert "no text with the label 'oos'" in fails("calibrate", folder, valid, "--none-label", "oos")

    def test_a_dry_run_writes_nothing(self, classifier, outside):
        folder, valid = classifier
        before = (folder / "classifier.json").read_bytes()
        result = run("calibrate", folder, valid, "--out-of-scope", outside, "--dry-run")
        assert "temperature" in result.stdout
        assert (folder / "classifier.json").read_bytes() == before

    def test_other_fields_of_the_file_stay(self, classifier):
        folder, valid = classifier
        path = folder / "classifier.json"
        before = json.loads(path.read_text()) | {"note": "mine"}
        path.write_text(json.dumps(before))
        run("calibrate", folder, valid)
        after = json.loads(path.read_text())
        assert after | {"temperature": 1.0} == before | {"temperature": 1.0}

    def test_a_threshold_for_old_probabilities_is_removed(self, classifier):
        folder, valid = classifier
        path = folder / "classifier.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": 0.6}))
        assert "The threshold was removed" in run("calibrate", folder, valid).stdout
        assert read_classifier_config(folder).threshold is None

    def test_what_cannot_be_calibrated_is_refused(self, classifier, trained, tmp_path):
        folder, valid = classifier
        tagger, _, tagged = trained(WORDS)
        assert "tags words" in fails("calibrate", tagger, tagged / VALID[WORDS])
        assert "holds sentences with tags" in fails("calibrate", folder, tagged / VALID[WORDS])
        few = write_rows(tmp_path / "few.jsonl", ("Ada likes Rome.", "good"))
        assert "There are 1 texts with a known label; at least 20" in fails("calibrate", folder, few)
        (tmp_path / "empty.txt").write_text("\n")
        assert "holds no texts" in fails("calibrate", folder, valid, "--out-of-scope", tmp_path / "empty.txt")
