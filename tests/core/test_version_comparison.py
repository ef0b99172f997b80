"""What differs between two versions."""

from turnwise.core.model_versions import ModelVersion, NewVersion
from turnwise.core.version_comparison import compare_versions, figures

FIRST = NewVersion(
    "m",
    "m/1",
    "d",
    recipe="objective: sft\ntraining: {learning_rate: 0.001, seed: 0}\ndata: {train: [{path: a.jsonl}]}\nout: a\n",
    data_sha256={"data/a": "1", "data/b": "2"},
    scorecard={"win_rate": 0.5, "golden": {"passed": 30}, "gate": {"passed": True}},
)
SECOND = NewVersion(
    "m",
    "m/2",
    "e",
    parent=1,
    recipe="objective: sft\ntraining: {learning_rate: 0.002, seed: 0, epochs: 2}\ndata: {train: [{path: a.jsonl}]}\n",
    data_sha256={"data/a": "1", "data/b": "3", "data/c": "4"},
    contributors=("local",),
    scorecard={"win_rate": 0.6, "golden": {"passed": 30}},
)


def versions(*contents):
    return [ModelVersion(number, 0.0, "candidate", content) for number, content in enumerate(contents, 1)]


def test_settings_data_and_figures_that_differ_are_pairs():
    assert compare_versions(*versions(FIRST, SECOND)) == {
        "recipe": {"training.learning_rate": (0.001, 0.002), "training.epochs": (None, 2)},
        "data": {"data/b": ("2", "3"), "data/c": (None, "4")},
        "figures": {"win_rate": (0.5, 0.6)},
        "other": {"parent": (None, 1), "contributors": (0, 1)},
    }


def test_a_version_equals_itself():
    assert not any(compare_versions(*versions(FIRST, FIRST)).values())


def test_figures_are_the_numbers_of_a_scorecard():
    assert figures(FIRST.scorecard) == {"win_rate": 0.5, "golden.passed": 30}
