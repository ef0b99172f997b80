"""The scope of a version: its training questions and what is near them, and hardly any background question."""

import pytest
from feedback_samples import corrected, shop_corrections

from turnwise.core.messages import Question
from turnwise.evaluation.golden_set import load_golden_cases
from turnwise.improve.settings import TuningSettings
from turnwise.improve.training_data import write_training_data
from turnwise.improve.training_examples import training_examples
from turnwise.improve.training_scope import background_questions, training_scope
from turnwise.text.question_scope import MAX_BACKGROUND_SHARE, QuestionScope

pytestmark = pytest.mark.costly
TUNING = TuningSettings(min_corrections=2, min_preferences=2)
CORRECTIONS = shop_corrections(3)
PAIRS = [
    corrected(n, f"Do you sell the novel {n}?", "No.", "Yes, it is on the shelf.", origin="regeneration")
    for n in range(10, 14)
]


def scope_of(folder, answers):
    examples = training_examples(answers)
    plan = write_training_data(folder, examples, base="tiny", base_sha256="ab", replay=None, tuning=TUNING)
    return training_scope(folder, plan)


@pytest.fixture
def scope_file(tmp_path):
    return scope_of(tmp_path / "data", [*CORRECTIONS, *PAIRS])


def test_questions_of_all_stages_are_inside(scope_file):
    scope = QuestionScope(scope_file.scope)
    assert (scope_file.base, scope_file.base_sha256) == ("tiny", "ab")
    texts = ["How much is article 2?", "Do you sell the novel 13?", "how much is article 2"]
    assert all(scope.contains(Question(text)) for text in texts)


def test_hardly_any_background_question_is_inside(scope_file):
    scope = QuestionScope(scope_file.scope)
    questions = set(background_questions())
    assert len(questions) > 3_000
    assert {case.messages[-1].content for case in load_golden_cases()} <= {question.text for question in questions}
    assert sum(map(scope.contains, questions)) <= MAX_BACKGROUND_SHARE * len(questions)


def test_equal_training_data_give_equal_bytes_in_any_order(scope_file, tmp_path):
    again = scope_of(tmp_path / "again", [*reversed(PAIRS), *reversed(CORRECTIONS)])
    assert again.model_dump_json() == scope_file.model_dump_json()
