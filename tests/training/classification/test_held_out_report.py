"""The report after training counts the texts that training could use, and no others."""

import json

import pytest

from turnwise.app.classifier_evaluation import evaluate_run
from turnwise.core.errors import InvalidData
from turnwise.models.classifier_config import read_classifier_config
from turnwise.training.examples.holdout import held_out_annotations
from turnwise.training.recipe import parse_recipe

ONE_LABEL = {"name": "sequence_classification", "multi_label": False}


@pytest.fixture
def report(train, encoder_folder, tmp_path):
    """`report(train_rows, valid_rows)`: trains on texts with labels, skipping bad rows, and returns the report."""

    def run(train_rows, valid_rows):
        for name, rows in (("train", train_rows), ("valid", valid_rows)):
            lines = [json.dumps({"text": text, "labels": labels}) + "\n" for text, labels in rows]
            (tmp_path / f"{name}.jsonl").write_text("".join(lines))
        data = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "valid")} | {"skip_bad_rows": True}
        _, out = train(encoder_folder, data, ONE_LABEL, max_steps=2)
        values = {"objective": ONE_LABEL, "model": {"from": str(encoder_folder)}, "out": str(out), "data": data}
        recipe = parse_recipe(values, origin="test")
        return evaluate_run(recipe, held_out_annotations(recipe)["valid"]), read_classifier_config(out)

    return run


GOOD = [("Ada likes Rome.", ["good"]), ("Ben left Oslo.", ["bad"]), ("Ben left Lima.", ["bad"])]


@pytest.mark.costly
def test_texts_with_a_wrong_number_of_labels_are_in_no_count_of_the_report(report):
    valid = [*GOOD, ("Dan saw Rome.", ["good", "bad"]), ("Cleo saw Oslo.", [])]
    run, _ = report(GOOD * 3, valid)
    evaluation = run.evaluation
    assert evaluation.num_items == 3
    assert evaluation.labels.micro.support == 3
    assert evaluation.calibration.count == 3
    assert sum(evaluation.confusions.counts.values()) == 3
    assert run.notes == ["Left out: 2 texts with no label or with several."]


@pytest.mark.costly
def test_rows_that_training_skips_give_no_label_and_no_baseline(report):
    several = [(f"Dan saw number {number}.", ["odd", "rare"]) for number in range(9)]
    run, config = report([*GOOD, *several], GOOD)
    assert config.labels == ("bad", "good")
    accuracy = next(row for row in run.evaluation.scorecard.rows if row.name == "accuracy")
    assert accuracy.base_value == pytest.approx(2 / 3), "the share of 'bad', the most frequent label"


def test_held_out_data_without_a_usable_text_is_named(report):
    with pytest.raises(InvalidData, match="held-out data has no text with a label"):
        report(GOOD * 3, [("Dan saw Rome.", ["good", "bad"])])
