"""The scope of a set of questions: near questions are inside, others are not, whatever their order and case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import InvalidParameter
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


def with_questions(scope, questions):
    """The same scope with further questions."""
    return QuestionScope(scope.data.model_copy(update={"questions": (*scope.data.questions, *questions)}))


@pytest.mark.parametrize(
    "text",
    ["Are there vegan croissants?", "vegan croisants", "price of a sourdough loaf", "有无麸质的面包吗?"],
)
def test_questions_in_other_words_are_inside(text):
    assert fit_scope(BAKERY, BACKGROUND).contains(text)


@pytest.mark.parametrize("text", [*BACKGROUND, "What do you have in mind?", "How much is the fish?", "", "?!"])
def test_other_questions_are_outside(text):
    assert not fit_scope(BAKERY, BACKGROUND).contains(text)


@given(any_questions, questions)
def test_the_questions_of_the_scope_are_inside(questions, background):
    scope = fit_scope(questions, background)
    assert all(scope.contains(question) for question in questions)


@given(questions, questions, st.lists(words, max_size=6).map(" ".join), st.randoms())
def test_order_case_and_repetition_do_not_matter(questions, background, text, random):
    scope = fit_scope(questions, background)
    shuffled = [question.upper() for question in questions * 2]
    random.shuffle(shuffled)
    again = fit_scope(shuffled, background)
    assert again.data.threshold == scope.data.threshold
    assert again.similarity(f"  {text.upper()} ") == scope.similarity(text)
    assert again.contains(text) == scope.contains(text)


@given(questions, questions, questions, st.lists(words, max_size=6).map(" ".join))
def test_further_questions_never_shrink_the_scope(questions, further, background, text):
    scope = fit_scope(questions, background)
    assert with_questions(scope, further).similarity(text) >= scope.similarity(text)
    assert with_questions(scope, further).contains(text) >= scope.contains(text)


@given(questions, questions, st.floats(0, 1))
def test_at_most_the_share_of_the_background_is_inside(questions, background, max_share):
    scope = fit_scope(questions, background, max_share=max_share)
    outside = {normalize_question(text) for text in background} - {normalize_question(text) for text in questions}
    assert sum(map(scope.contains, outside)) <= max_share * len(outside)


def test_a_larger_share_of_the_background_gives_a_larger_scope():
    strict, generous = (fit_scope(BAKERY, BACKGROUND, max_share=share) for share in (0.0, 0.5))
    assert generous.data.threshold < strict.data.threshold
    assert generous.contains("Do you have a name?")
    assert not strict.contains("Do you have a name?")


@given(questions, questions, questions)
def test_a_stored_scope_gives_the_same_similarities(questions, background, texts):
    scope = fit_scope(questions, background)
    stored = QuestionScope(ScopeData.model_validate_json(scope.data.model_dump_json()))
    assert [stored.similarity(text) for text in texts] == [scope.similarity(text) for text in texts]


def test_a_long_text_is_outside_unless_it_is_a_question_of_the_scope():
    pasted = "Do you have vegan croissants? " * MAX_CHARS
    assert not fit_scope(BAKERY, BACKGROUND).contains(pasted)
    assert fit_scope([*BAKERY, pasted], BACKGROUND).contains(pasted)


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
    values = fit_scope(BAKERY, BACKGROUND).data.model_dump() | change
    with pytest.raises(InvalidParameter, match=message):
        parse_strict_model(ScopeData, values, origin="scope.json")
