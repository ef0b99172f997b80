"""The folder of training data holds all that is needed to train a version again."""

import pytest
from feedback_samples import corrected, rated, shop_corrections

from turnwise.core.errors import InvalidData
from turnwise.data.sources import DataSource
from turnwise.improve.example_file import read_examples, write_examples
from turnwise.improve.settings import TuningSettings
from turnwise.improve.training_data import (
    choose_stages,
    read_contributors,
    read_plan,
    write_alpha,
    write_training_data,
)
from turnwise.improve.training_examples import training_examples

TUNING = TuningSettings(min_corrections=2, min_preferences=2, replay_ratio=0.5)
CORRECTIONS = training_examples(shop_corrections(3))
PAIRS = training_examples(corrected(n, f"{n}?", "No.", "Yes.", origin="regeneration") for n in range(10, 14))
RATINGS = training_examples(rated(n, f"Rated {n}?", "Yes.", 1 if n % 2 else -1) for n in range(20, 40))


def write(folder, examples, replay=None):
    return write_training_data(folder, examples, base="tiny", base_sha256="ab", replay=replay, tuning=TUNING)


class TestStages:
    def test_corrections_are_also_preferences(self):
        assert {name: len(rows) for name, rows in choose_stages([*CORRECTIONS, *PAIRS], TUNING).items()} == {
            "corrections": 3,
            "preferences": 7,
        }

    def test_many_ratings_replace_few_preferences(self):
        assert set(choose_stages([*PAIRS, *RATINGS], TUNING)) == {"ratings"}

    def test_ratings_of_one_kind_teach_nothing(self):
        good = [row for row in RATINGS if row.dialogue.rating]
        assert choose_stages(good, TUNING) == {}

    def test_a_stage_with_too_few_examples_is_left_out(self):
        assert choose_stages(CORRECTIONS[:1], TUNING) == {}


def test_corrections_are_written_without_the_answers_that_they_replace(tmp_path):
    write(tmp_path / "data", CORRECTIONS)
    rows = list(DataSource(tmp_path / "data" / "corrections.jsonl"))
    assert [row.messages for row in rows] == [row.dialogue.messages for row in CORRECTIONS]
    assert not any(row.rejected for row in rows)


def test_the_folder_names_everybody_whose_words_it_holds(tmp_path):
    examples = [*CORRECTIONS, *training_examples(shop_corrections(3, person="key:shop/user:7"))]
    write(tmp_path / "data", examples)
    assert read_contributors(tmp_path / "data") == {"local", "key:shop/user:7"}


def test_the_plan_is_read_as_it_was_written(tmp_path):
    plan = write(tmp_path / "data", [*CORRECTIONS, *PAIRS])
    assert read_plan(tmp_path / "data") == plan
    write_alpha(tmp_path / "data", 0.3)
    assert read_plan(tmp_path / "data") == plan.model_copy(update={"alpha": 0.3})


def test_a_folder_without_a_plan_says_so(tmp_path):
    with pytest.raises(InvalidData, match=r"plan\.json cannot be read"):
        read_plan(tmp_path)


def test_examples_are_read_as_they_were_written(tmp_path):
    examples = [*CORRECTIONS, *PAIRS, *RATINGS]
    write_examples(tmp_path / "examples.jsonl", examples)
    assert read_examples(tmp_path / "examples.jsonl") == examples
