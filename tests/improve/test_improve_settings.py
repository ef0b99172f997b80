"""Wrong settings are reported before anything is trained."""

import pytest

from turnwise.core.errors import InvalidParameter
from turnwise.improve.settings import ImproveSettings, load_settings


def load(tmp_path, text):
    path = tmp_path / "improve.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def test_without_a_file_the_defaults_apply():
    assert load_settings(None) == ImproveSettings()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("proof: {alphas: []}", "proof.alphas"),
        ("proof: {alphas: [1.5]}", "proof.alphas.0"),
        ("proof: {alphas: [0]}", "proof.alphas.0"),
        ("tuning: {method: lorra}", "tuning.method"),
        ("proof: {retention: [missing.jsonl]}", "missing.jsonl"),
        ("min_answer: 5", "min_answers"),
        ("proof: {scope: false, questions: training}", "proof.questions"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, text, problem):
    with pytest.raises(InvalidParameter, match=problem):
        load(tmp_path, text)


def test_a_version_that_answers_all_questions_is_trained_with_replay(tmp_path):
    assert load(tmp_path, "proof: {scope: true}").tuning.replay_ratio == 0
    settings = load(tmp_path, "proof: {scope: false}\ntuning: {passes: 4}")
    assert (settings.tuning.replay_ratio, settings.tuning.passes) == (0.75, 4)


def test_retention_files_that_exist_are_accepted(tmp_path):
    file = tmp_path / "general.jsonl"
    file.write_text("", encoding="utf-8")
    assert load(tmp_path, f"proof: {{retention: [{file}]}}").proof.retention == (str(file),)
