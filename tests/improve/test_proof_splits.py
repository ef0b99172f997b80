"""Each answer is scored by a model that has not seen it, nor another answer to the same question."""

from feedback_samples import corrected, shop_corrections
from hypothesis import given
from hypothesis import strategies as st

from turnwise.improve.settings import ProofSettings
from turnwise.improve.splits import VERSION, question_position, split_examples
from turnwise.improve.training_examples import training_examples

CROSS_FITTED = ProofSettings(max_cross_fitted=1_000, questions="held_out")
HELD_OUT = ProofSettings(max_cross_fitted=0, held_out_share=0.3)


def questions(examples):
    return {example.dialogue.messages[0].content.casefold() for example in examples}


@st.composite
def examples(draw):
    """Corrections, some of them of the same question."""
    numbers = draw(st.lists(st.integers(0, 20), min_size=2, max_size=40))
    return training_examples(
        corrected(id, f"Question {number}?", "No.", f"Answer {id}") for id, number in enumerate(numbers)
    )


@given(examples())
def test_cross_fitting_scores_every_example_once_and_trains_on_all(rows):
    train, proofs = split_examples(rows, CROSS_FITTED)
    assert sorted(row.id for proof in proofs for row in proof.test) == sorted(row.id for row in rows)
    assert {row.id for row in train} == {row.id for row in rows}


@given(examples(), st.sampled_from([CROSS_FITTED, HELD_OUT]))
def test_no_model_sees_the_questions_that_it_is_scored_on(rows, settings):
    _, proofs = split_examples(rows, settings)
    for proof in proofs:
        assert not questions(proof.train) & questions(proof.test)


def test_the_halves_are_of_about_equal_size():
    _, (first, second) = split_examples(training_examples(shop_corrections(11)), CROSS_FITTED)
    assert {len(first.test), len(second.test)} == {5, 6}


@given(examples())
def test_a_version_with_a_scope_is_asked_its_own_questions_in_another_form(rows):
    train, (proof,) = split_examples(rows, ProofSettings())
    assert (proof.name, proof.train) == (VERSION, train)
    assert {row.id for row in proof.test} == {row.id for row in train}
    original = {row.id: row.dialogue for row in rows}
    for row in proof.test:
        before, typed = original[row.id], row.dialogue
        assert typed.messages[0].content != before.messages[0].content
        assert typed.messages[0] == typed.rejected[0]
        assert (typed.messages[1:], typed.rejected[1:]) == (before.messages[1:], before.rejected[1:])


@given(examples(), examples())
def test_a_held_out_example_stays_held_out_when_more_are_collected(rows, more):
    renamed = [row for row in more if questions([row]) - questions(rows)]
    _, (before,) = split_examples(rows, HELD_OUT)
    _, (after,) = split_examples([*rows, *renamed], HELD_OUT)
    assert {row.id for row in before.test} <= {row.id for row in after.test}
    assert {row.id for row in before.train} <= {row.id for row in after.train}


def test_held_out_examples_are_about_the_given_share():
    settings = HELD_OUT.model_copy(update={"max_dialogues": 2_000})
    _, (proof,) = split_examples(training_examples(shop_corrections(2_000)), settings)
    assert 0.25 < len(proof.test) / 2_000 < 0.35


def test_the_version_is_the_model_of_the_held_out_proof():
    train, (proof,) = split_examples(training_examples(shop_corrections(50)), HELD_OUT)
    assert (proof.name, proof.train) == (VERSION, train)


@given(examples(), st.sampled_from([CROSS_FITTED, HELD_OUT]))
def test_questions_that_the_serving_version_has_seen_prove_nothing(rows, settings):
    seen = frozenset(question_position(row) for row in rows[::2])
    train, proofs = split_examples(rows, settings, seen)
    assert train == split_examples(rows, settings)[0], "they are trained on all the same"
    assert not any(question_position(row) in seen for proof in proofs for row in proof.test)


@given(examples(), st.integers(5, 40))
def test_the_newest_examples_are_compared(rows, limit):
    _, proofs = split_examples(rows, CROSS_FITTED.model_copy(update={"max_dialogues": limit}))
    assert {row.id for proof in proofs for row in proof.test} == {row.id for row in rows[-limit:]}
