"""The scope of a set of questions: near questions are inside, others are not, whatever their order and case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
from turnwise.core.messages import Question
from turnwise.core.strict_model import parse_strict_model
from turnwise.text.question_scope import MAX_CHARS, QuestionScope, ScopeData, fit_scope, normalize_question

BAKERY = ["Do you have vegan croissants?", "How much is a sourdough loaf?", "你们有没有无麸质面包?"]
BACKGROUND = [
    "How are you?", "Do you have a name?", "How much is two plus two?", "What is the capital of France?",
    "Who wrote Hamlet?", "Tell me a joke", "你好吗?", "你们几点关门?", "法国的首都是哪里?",
]  # fmt: skip
words = st.sampled_from(["do", "you", "have", "bread", "vegan", "croissants", "how", "much", "面", "包", "有", "!"])
questions = st.lists(st.lists(words, min_size=1, max_size=6).map(" ".join), max_size=8)
any_questions = st.lists(st.text(max_size=30), max_size=8)


def fit(questions, background, **more):
    """A scope of questions without instructions."""
    return fit_scope(map(Question, questions), map(Question, background), **more)


def contains(scope, text, instructions=""):
    return scope.contains(Question(text, instructions))


def similarity(scope, text):
    return scope.similarity(Question(text))


def with_questions(scope, questions):
    """The same scope with further questions."""
    texts = (*scope.data.questions.get("", ()), *questions)
    return QuestionScope(scope.data.model_copy(update={"questions": {"": texts}}))


@pytest.mark.parametrize(
    "text",
    ["Are there vegan croissants?", "vegan croisants", "price of a sourdough loaf", "有无麸质的面包吗?"],
)
def test_questions_in_other_words_are_inside(text):
    assert contains(fit(BAKERY, BACKGROUND), text)


@pytest.mark.parametrize("text", [*BACKGROUND, "What do you have in mind?", "How much is the fish?", "", "?!"])
def test_other_questions_are_outside(text):
    assert not contains(fit(BAKERY, BACKGROUND), text)


@given(any_questions, questions)
def test_the_questions_of_the_scope_are_inside(questions, background):
    scope = fit(questions, background)
    assert all(contains(scope, question) for question in questions)


@given(questions, questions, st.lists(words, max_size=6).map(" ".join), st.randoms())
def test_order_case_and_repetition_do_not_matter(questions, background, text, random):
    scope = fit(questions, background)
    shuffled = [question.upper() for question in questions * 2]
    random.shuffle(shuffled)
    again = fit(shuffled, background)
    assert again.data.threshold == scope.data.threshold
    assert similarity(again, f"  {text.upper()} ") == similarity(scope, text)
    assert contains(again, text) == contains(scope, text)


@given(questions, questions, questions, st.lists(words, max_size=6).map(" ".join))
def test_further_questions_never_shrink_the_scope(questions, further, background, text):
    scope = fit(questions, background)
    assert similarity(with_questions(scope, further), text) >= similarity(scope, text)
    assert contains(with_questions(scope, further), text) >= contains(scope, text)


@given(questions, questions, st.floats(0, 1))
def test_at_most_the_share_of_the_background_is_inside(questions, background, max_share):
    scope = fit(questions, background, max_share=max_share)
    outside = {normalize_question(text) for text in background} - {normalize_question(text) for text in questions}
    assert sum(contains(scope, text) for text in outside) <= max_share * len(outside)


def test_a_question_is_inside_only_with_the_instructions_that_it_was_trained_with():
    questions = [Question("Do you have bread?", "You are a bakery."), Question("Where can I sit?", "You are a café.")]
    scope = fit_scope(questions, map(Question, BACKGROUND))
    assert contains(scope, "do you have bread", "you are a  bakery.")
    assert not contains(scope, "Do you have bread?")
    assert not contains(scope, "Do you have bread?", "You are a café.")


def test_a_larger_share_of_the_background_gives_a_larger_scope():
    strict, generous = (fit(BAKERY, BACKGROUND, max_share=share) for share in (0.0, 0.5))
    assert generous.data.threshold < strict.data.threshold
    assert contains(generous, "Do you have a name?")
    assert not contains(strict, "Do you have a name?")


@given(questions, questions, questions)
def test_a_stored_scope_gives_the_same_similarities(questions, background, texts):
    scope = fit(questions, background)
    stored = QuestionScope(ScopeData.model_validate_json(scope.data.model_dump_json()))
    assert [similarity(stored, text) for text in texts] == [similarity(scope, text) for text in texts]


def test_a_long_text_is_outside_unless_it_is_a_question_of_the_scope():
    pasted = "Do you have vegan croissants? " * MAX_CHARS
    assert not contains(fit(BAKERY, BACKGROUND), pasted)
    assert contains(fit([*BAKERY, pasted], BACKGROUND), pasted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 2}, "'threshold'"),
        ({"background_counts": {"the": 0}}, "'background_counts.the'"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"questions": "all"}, "'questions'"),
    ],
)
def test_invalid_content_is_an_error_that_names_the_field(change, message):
    values = fit(BAKERY, BACKGROUND).data.model_dump() | change
    with pytest.raises(InvalidParameter, match=message):
        parse_strict_model(ScopeData, values, origin="scope.json")
