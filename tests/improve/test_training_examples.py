"""Feedback becomes training examples: corrections, preferences and ratings."""

from dataclasses import replace

from feedback_samples import corrected, rated
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.collected_answers import PreferredAnswer
from turnwise.core.messages import Message
from turnwise.improve.example_file import read_examples, write_examples
from turnwise.improve.training_examples import training_examples


def only(answer):
    (example,) = training_examples([answer])
    return example


class TestCorrections:
    def test_the_better_answer_is_learned_and_the_given_one_rejected(self):
        example = only(corrected(1, "When do you open?", "At noon.", "At seven.", person="anna"))
        assert (example.kind, example.contributors) == ("correction", ("anna",))
        assert example.dialogue.messages[-1] == Message("assistant", "At seven.")
        assert example.dialogue.rejected[-1] == Message("assistant", "At noon.")

    def test_the_last_of_several_corrections_counts(self):
        answer = corrected(1, "When?", "At noon.", "At six.")
        later = PreferredAnswer("local", Message("assistant", "At seven."), 9.0, "correction")
        example = only(replace(answer, preferred=(*answer.preferred, later)))
        assert example.dialogue.messages[-1].content == "At seven."

    def test_a_correction_counts_more_than_a_regenerated_answer(self):
        answer = corrected(1, "When?", "At noon.", "At six.")
        later = PreferredAnswer("local", Message("assistant", "Soon."), 9.0, "regeneration")
        example = only(replace(answer, preferred=(*answer.preferred, later)))
        assert (example.kind, example.dialogue.messages[-1].content) == ("correction", "At six.")

    def test_a_correction_that_repeats_the_answer_adds_nothing(self):
        assert training_examples([corrected(1, "When?", "At noon.", "At noon.")]) == []

    def test_earlier_answers_of_the_model_are_not_learned(self):
        history = (Message("user", "Hello"), Message("assistant", "Hi."), Message("user", "When?"))
        example = only(replace(corrected(1, "When?", "At noon.", "At six."), history=history))
        assert [message.weight for message in example.dialogue.messages] == [1.0, 0.0, 1.0, 1.0]


class TestRatings:
    def test_the_majority_decides(self):
        assert only(rated(1, "When?", "At noon.", 1, 1, -1)).dialogue.rating is True
        assert only(rated(1, "When?", "At noon.", -1)).dialogue.rating is False

    def test_ratings_that_cancel_out_add_nothing(self):
        assert training_examples([rated(1, "When?", "At noon.", 1, -1)]) == []

    @given(st.lists(st.sampled_from([1, -1]), min_size=1, max_size=6))
    def test_the_last_rating_of_a_person_counts(self, values):
        answer = rated(1, "When?", "At noon.", *values, people=["anna"] * len(values))
        assert only(answer).dialogue.rating is (values[-1] > 0)


def test_a_regenerated_answer_is_a_preference():
    example = only(corrected(1, "When?", "At noon.", "At six.", origin="regeneration"))
    assert example.kind == "preference"


def test_examples_are_read_from_their_file_as_they_were_written(tmp_path):
    answer = replace(corrected("7", "Open?", "No.", "Yes."), conversation="1\nSecret opening")
    examples = training_examples([answer, rated("8", "Late?", "No.", 1)])
    write_examples(tmp_path / "examples.jsonl", examples)
    assert read_examples(tmp_path / "examples.jsonl") == examples
    assert [(example.created, bool(example.conversation)) for example in examples] == [(7.0, True), (8.0, False)]
    assert "Secret" not in (tmp_path / "examples.jsonl").read_text(encoding="utf-8"), "an opening may be personal"
