"""A classifier that was trained with texts of no label: `classify`, `evaluate` and `calibrate`."""

import json
import random
import shutil

import pytest

from annotated_data import PEOPLE, PLACES, train_classifier
from turnwise.models.classifier_config import read_classifier_config

VERBS = {"likes": "good", "left": "bad", "saw": "other"}
KNOWN, UNKNOWN = "Ada likes Rome.", "Ada saw Rome."


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tokenizer, one_thread):
    """A trained classifier, and its validation texts: with labels, and of none."""
    root, rng = tmp_path_factory.mktemp("none"), random.Random(0)
    (data := root / "data").mkdir()
    for name, count in (("train", 160), ("valid", 60)):
        rows = []
        for _ in range(count):
            verb, label = rng.choice([*VERBS.items()])
            rows.append({"text": f"{rng.choice(PEOPLE)} {verb} {rng.choice(PLACES)}.", "label": label})
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"name": "sequence_classification", "none_label": "other"}
    return train_classifier(root / "run", data, task, tokenizer, 60), data / "valid.jsonl"


@pytest.fixture
def classifier(trained, tmp_path):
    """A copy of the classifier."""
    return shutil.copytree(trained[0], tmp_path / "classifier")


@pytest.mark.costly
def test_classify_prints_none_and_keeps_the_name_to_itself(turnwise, trained):
    code, out, err = turnwise("classify", trained[0], "--text", KNOWN, "--text", UNKNOWN, "--threads", 1)
    assert (code, err) == (0, "")
    assert [line.split("\t")[0] for line in out.splitlines()] == ["good", "(none)"]
    out = turnwise("classify", trained[0], "--text", UNKNOWN, "--json", "--threads", 1)[1]
    answer = json.loads(out)
    assert answer["labels"] == []
    assert set(answer["scores"]) == {"good", "bad"}


def test_the_evaluation_knows_the_name_and_counts_such_texts(turnwise, trained, tmp_path):
    folder, valid = trained
    code, out, err = turnwise("evaluate", folder, "--data", valid, "--out", tmp_path / "report", "--threads", 1)
    assert code == 0, err
    assert "recall of none" in out
    rows = {row["name"]: row for row in json.loads((tmp_path / "report/scorecard.json").read_text())["rows"]}
    assert rows["accuracy"]["num_dialogues"] == 60
    assert rows["accuracy"]["value"] > 0.95
    assert rows["none_recall"]["value"] > 0.9
    assert rows["wrong_label"]["value"] + rows["refused"]["value"] < 0.1
    page = (tmp_path / "report/report.html").read_text()
    assert "recall of none" in page
    assert ">other<" not in page


def test_texts_with_another_name_for_none_need_the_option(turnwise, trained, tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [(KNOWN, "good"), (UNKNOWN, "other"), (UNKNOWN, "oos")]
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    code, _, err = turnwise("evaluate", trained[0], "--data", path)
    assert (code, "'oos' (1)" in err) == (2, True)
    out = turnwise("evaluate", trained[0], "--data", path, "--none-label", "oos", "--json")[1]
    assert {row["name"]: row["value"] for row in json.loads(out)["rows"]}["none_recall"] == 1


@pytest.mark.costly
def test_calibration_fits_the_temperature_and_leaves_the_class_of_none_in_charge(turnwise, classifier, trained):
    code, out, err = turnwise("calibrate", classifier, trained[1])
    assert code == 0, err
    with_label = sum(json.loads(line)["label"] != "other" for line in trained[1].read_text().splitlines())
    assert f"{with_label} texts with a label, {60 - with_label} out of scope." in out
    assert "A text is refused (no label) if none is more probable than every label." in " ".join(out.split())
    config = read_classifier_config(classifier)
    assert (config.none_label, config.threshold) == ("other", None)
    assert turnwise("classify", classifier, "--text", UNKNOWN)[1].startswith("(none)")


def test_a_threshold_replaces_the_comparison_with_none(turnwise, classifier, trained):
    code, out, err = turnwise("calibrate", classifier, trained[1], "--max-false-alarms", 0.05)
    assert code == 0, err
    assert "probability below" in out
    config = read_classifier_config(classifier)
    assert config.threshold is not None
    path = classifier / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": 0.0}))
    assert turnwise("classify", classifier, "--text", UNKNOWN)[1].split("\t")[0] in ("good", "bad")
