"""What a cycle trains is decided before it trains anything, and the proof trains the same stages as the version."""

import pytest
from feedback_samples import corrected, shop_corrections

from turnwise.improve.cycle_folder import EXAMPLES_FILE, CycleFolders
from turnwise.improve.example_file import write_examples
from turnwise.improve.preparation import prepare, seen_questions
from turnwise.improve.settings import ImproveSettings
from turnwise.improve.splits import VERSION, question_position
from turnwise.improve.training_examples import training_examples

CROSS_FITTED = ImproveSettings.model_validate({"proof": {"questions": "held_out"}})


def corrections(count):
    return training_examples(shop_corrections(count))


def pairs(count):
    answers = (corrected(n, f"Pair {n}?", "No.", "Yes.", origin="regeneration") for n in range(100, 100 + count))
    return training_examples(answers)


@pytest.mark.parametrize("count", [8, 9])
def test_halves_with_too_few_examples_are_no_proof(count):
    plan = prepare(corrections(count), count, CROSS_FITTED)
    assert plan.stages == {}
    assert plan.obstacle == (
        f"Too few examples passed the checks ({count} of the kind correction): a training needs 5 corrections, or 20 "
        "preferences or ratings of each kind; each model of the proof is trained on half of them."
    )


def test_ten_corrections_are_enough():
    plan = prepare(corrections(10), 10, CROSS_FITTED)
    assert (plan.stages, plan.obstacle) == ({"corrections": 10}, None)


def test_the_version_has_no_stage_that_the_proof_lacks():
    plan = prepare([*corrections(12), *pairs(12)], 24, CROSS_FITTED)
    assert plan.stages == {"corrections": 12}, "24 preferences, but only 12 in each half"


def test_a_version_that_is_asked_its_own_questions_needs_no_halves():
    plan = prepare(corrections(8), 8, ImproveSettings())
    assert (plan.stages, plan.obstacle) == ({"corrections": 8}, None)
    assert [proof.name for proof in plan.proofs] == [VERSION]


def test_a_version_that_is_asked_its_own_questions_is_asked_those_of_the_serving_version_too():
    examples = corrections(12)
    positions = list(map(question_position, examples))
    (proof,) = prepare(examples, 12, ImproveSettings(), frozenset(positions[:9])).proofs
    assert [row.id for row in proof.test] == [row.id for row in examples]


def test_another_correction_of_a_known_question_is_learned():
    examples = corrections(8)
    plan = prepare(examples, 8, ImproveSettings(), frozenset(map(question_position, examples)))
    assert (plan.stages, plan.obstacle) == ({"corrections": 8}, None)


def test_few_new_answers_start_nothing():
    plan = prepare(corrections(10), 4, CROSS_FITTED)
    assert plan.obstacle == "There is feedback on 4 new answers; a cycle needs 8."


def test_a_version_is_not_compared_on_what_the_serving_one_was_trained_on():
    examples = corrections(12)
    seen = frozenset(map(question_position, examples[:9]))
    tested = {row.id for proof in prepare(examples, 12, CROSS_FITTED, seen).proofs for row in proof.test}
    assert tested == {row.id for row in examples[9:]}
    nothing_new = prepare(examples[:9], 12, CROSS_FITTED, seen)
    assert nothing_new.obstacle is not None
    assert nothing_new.obstacle.startswith("There is no example to compare the versions on")


class TestSeenQuestions:
    def journal(self, tmp_path, examples, **proof):
        settings = ImproveSettings.model_validate({"proof": proof}).model_dump(mode="json")
        journal = CycleFolders("shop", tmp_path).create(settings=settings)
        write_examples(journal.folder / EXAMPLES_FILE, examples)
        return journal

    def test_a_cross_fitted_version_has_seen_all(self, tmp_path):
        examples = corrections(6)
        assert seen_questions(self.journal(tmp_path, examples)) == set(map(question_position, examples))

    def test_held_out_examples_stay_unseen(self, tmp_path):
        examples = corrections(50)
        seen = seen_questions(self.journal(tmp_path, examples, max_cross_fitted=0, held_out_share=0.3))
        assert seen == {position for position in map(question_position, examples) if position >= 0.3}

    def test_a_version_of_no_cycle_has_seen_none(self, tmp_path):
        assert seen_questions(None) == frozenset()
        assert seen_questions(CycleFolders("shop", tmp_path).create()) == frozenset()
