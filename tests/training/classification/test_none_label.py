"""Texts of no label in the training data: one more class, which nobody gets to see."""

import json
import random

import pytest

from annotated_data import PEOPLE, PLACES
from turnwise.app.classifier_evaluation import evaluate_run
from turnwise.app.classifiers import open_classification_service, open_classifier
from turnwise.core.classification_service import ClassificationRequest
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.steps import run_steps
from turnwise.data.annotations.annotated import LabeledText
from turnwise.models.classifier_config import read_classifier_config
from turnwise.training.examples.holdout import held_out_annotations
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.objectives.sequence_classification import SequenceClassificationObjective
from turnwise.training.recipe import parse_recipe

OBJECTIVE = {"name": "sequence_classification", "none_label": "other"}
VERBS = {"likes": "good", "left": "bad", "saw": "other"}


def write_rows(folder, count, verbs=VERBS):
    rng = random.Random(count)
    for name in ("train", "valid"):
        rows = []
        for _ in range(count):
            verb, label = rng.choice([*verbs.items()])
            rows.append({"text": f"{rng.choice(PEOPLE)} {verb} {rng.choice(PLACES)}.", "label": label})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


class TestATrainedClassifier:
    @pytest.fixture
    def run(self, train, encoder_folder, tmp_path):
        """The result of a run, its folder, and its recipe."""
        write_rows(tmp_path, 120)
        result, out = train(encoder_folder, tmp_path, OBJECTIVE)
        values = {"objective": OBJECTIVE, "model": {"from": str(encoder_folder)}, "out": str(out)}
        files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "valid")}
        return result, out, parse_recipe({**values, "data": files}, origin="test")

    @pytest.mark.costly
    def test_it_answers_such_a_text_with_no_label_and_keeps_the_name_to_itself(self, run):
        result, out, recipe = run
        assert result.extra_metrics["f1"] > 0.95
        config = read_classifier_config(out)
        assert (config.labels, config.none_label) == (("bad", "good"), "other")

        texts = ["Ada likes Rome.", "Ben left Oslo.", "Dan saw Lima."]
        answers = open_classifier(str(out)).classify(texts)
        assert [answer.labels for answer in answers] == [("good",), ("bad",), ()]
        assert {score.label for answer in answers for score in answer.scores} == {"good", "bad"}
        assert sum(score.probability for score in answers[2].scores) < 0.5
        service = open_classification_service(str(out), threads=1)
        assert service.labels == ("bad", "good")
        above_half = ClassificationRequest(texts, top_k=1, threshold=0.5)
        served = run_steps(service.classifier.classify_in_steps(above_half)).texts
        assert [answer.labels for answer in served] == [("good",), ("bad",), ()]

        evaluation = evaluate_run(recipe, held_out_annotations(recipe)["valid"]).evaluation
        rows = {row.name: row.value for row in evaluation.scorecard.rows}
        assert evaluation.num_items == 120
        assert rows["none_recall"] > 0.95
        assert {entry.target for entry in evaluation.confusions.largest()} <= {"good", "bad", "(none)"}


def texts(*labels):
    return [LabeledText(f"text {number}", names) for number, names in enumerate(labels)]


def test_the_label_is_in_the_training_data_beside_others():
    objective = SequenceClassificationObjective(none_label="other")
    fitted = objective.fit_labels(texts(("b",), ("other",), ("a",)))
    assert (fitted.labels, fitted.multi_label) == (("a", "b"), False)
    with pytest.raises(InvalidData, match="has no text with the label 'other'"):
        objective.fit_labels(texts(("b",)))
    with pytest.raises(InvalidData, match="All texts of the training data have the label 'other'"):
        objective.fit_labels(texts(("other",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multi_label": True}, "'none_label' is for texts with one label each"),
        ({"labels": ["a", "other"]}, "'other' is the 'none_label', so it cannot be one of the 'labels'"),
        ({"none_label": ""}, "none_label"),
    ],
)
def test_what_contradicts_it_is_refused(options, message):
    with pytest.raises(InvalidParameter, match=message):
        OBJECTIVES.parse_plugin(OBJECTIVE | options)


def test_texts_with_several_labels_are_bad_rows(train, encoder_folder, tmp_path):
    rows = [
        {"text": "Ada", "labels": ["a", "other"]},
        {"text": "Ben", "labels": ["other"]},
        {"text": "Dan", "labels": ["a"]},
    ]
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InvalidData, match="it has 2 labels, and every other text has one"):
        train(encoder_folder, tmp_path, OBJECTIVE, max_steps=1)
