"""The golden set: strict file format, cases that can be passed, and none that an empty phrase passes."""

from collections import Counter

import pytest

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Message
from turnwise.evaluation.golden_case import GoldenCase, case_errors, passes_case
from turnwise.evaluation.golden_set import load_golden_cases
from turnwise.evaluation.metric_runner import plan_samples, run_metrics
from turnwise.evaluation.metrics import golden, load_metrics, metric_names
from turnwise.evaluation.samples import GenerationOutput, SampleResult

CASES = load_golden_cases()
MIN_CASES = {  # by kind
    "support": 80,
    "small_talk": 50,
    "safety": 70,
    "long_talks": 25,
    "hurried": 35,
    "chinese": 50,
    "instructions": 30,
}
EVASIVE_ANSWERS = (
    "",
    "...",
    "I don't know what you mean.",
    "Sorry, I didn't understand that. Could you say it in other words?",
    "The weather is nice today.",
    "asdf qwer",
    "我不知道你在说什么。",
)

VALID_FILE = """
- id: hours
  system: "You answer for a library that opens at nine."
  messages: ["Hi", "Hello!", "When do you open?"]
  must_include: [[nine, "9"], open*]
  must_not_include: ["ten o'clock"]
  word_range: [2, 12]
  passing_answer: "We open at nine."
  failing_answer: "We open at ten o'clock, not nine."
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def make_case(**criteria):
    return GoldenCase("one", "test", (Message("user", "?"),), **criteria)


# ---------- judging answers ----------


@pytest.mark.parametrize(
    ("alternative", "text", "is_match"),
    [
        ("refund", "A Refund, please", True),
        ("refund", "two refunds", False),
        ("refund*", "two refunds", True),
        ("refund*", "unrefunded", False),
        ("can't help", "I can’t help you", True),
        ("can't help", "can I help", False),
        ("talk* to", "talking to people", True),
        ("* a", "a", True),
        ("3.90", "It is 3.90 euros.", True),
        ("3.90", "It is 13.90 euros.", False),
        ("help@shop.example", "Write to Help@shop.example!", True),
        ("退款", "您可以申请退款。", True),
        ("退款", "退回款项", False),
        ("7天", "7 天之内", True),
        ("7天", "17天之内", False),
        ("7天", "７天之内", True),
        ("café", "the Café is open", True),
    ],
)
def test_alternatives_match_complete_words(alternative, text, is_match):
    assert passes_case(make_case(must_include=((alternative,),)), text) is is_match
    assert passes_case(make_case(must_not_include=(alternative,)), text) is not is_match


def test_an_answer_needs_one_alternative_of_every_group():
    one = make_case(must_include=(("a", "b"), ("c",)))
    assert passes_case(one, "b c")
    assert case_errors(one, "a") == ["the answer contains none of: c"]
    assert case_errors(one, "d") == ["the answer contains none of: a, b", "the answer contains none of: c"]


def test_an_answer_without_words_fails():
    assert case_errors(make_case(must_not_include=("x",)), " ... ") == ["the answer has no words"]


def test_the_number_of_words_has_a_minimum_and_a_maximum():
    one = make_case(must_not_include=("x",), word_range=(2, 3))
    assert [passes_case(one, text) for text in ("a", "a b", "a b c", "a b c d")] == [False, True, True, False]
    assert case_errors(one, "a") == ["the answer has 1 words, not 2 to 3"]


# ---------- files ----------


def test_a_file_becomes_cases(written):
    (read,) = load_golden_cases(written(VALID_FILE))
    assert (read.id, read.kind, read.is_safety, read.word_range) == ("hours", "mine", False, (2, 12))
    assert [message.role for message in read.messages] == ["system", "user", "assistant", "user"]
    assert read.must_include == (("nine", "9"), ("open*",))


def test_a_folder_is_read_file_by_file_and_file_names_are_kinds(written, tmp_path):
    written(VALID_FILE)
    written(VALID_FILE.replace("hours", "other"), "safety.yml")
    written("not yaml: [", "notes.txt")
    assert [(case.id, case.kind, case.is_safety) for case in load_golden_cases(tmp_path)] == [
        ("hours", "mine", False),
        ("other", "safety", True),
    ]


def test_lists_inside_a_group_are_flattened(written):
    text = (
        "- {id: a, messages: [x], must_include: [&no [never, nay]]}\n"
        "- {id: b, messages: [x], must_include: [[*no, nope]]}\n"
    )
    assert load_golden_cases(written(text))[1].must_include == (("never", "nay", "nope"),)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  must_not_include:",
            "  must_not_inclde:",
            "case 'hours': unknown key 'must_not_inclde': .*must_not_include",
        ),
        ("- id: hours\n ", "-", "case 1: 'id' is missing"),
        ('["Hi", "Hello!", "When do you open?"]', '["Hi", "Hello!"]', "alternate between user and assistant"),
        ('["Hi", "Hello!", "When do you open?"]', '"Hi"', "'messages' must be a list"),
        ('["Hi", "Hello!", "When do you open?"]', '["Hi", no, "x"]', "YAML reads False in 'messages' .*quote it"),
        ('"9"', "9", "YAML reads 9 in 'must_include' .*quote it"),
        ('["ten o\'clock"]', "[]", "a list in 'must_not_include' is empty"),
        ('["ten o\'clock"]', '["?"]', "has no words"),
        ("[2, 12]", "[12, 2]", "two numbers, minimum and maximum"),
        ("[2, 12]", "[yes, 2]", "two numbers, minimum and maximum"),
        ("word_range: [2, 12]", "safety: maybe", "'safety' must be true or false"),
        (
            'at nine."\n  failing_answer',
            'at eight."\n  failing_answer',
            "its 'passing_answer' does not pass: the answer contains none of: nine, 9",
        ),
        ("ten o'clock, not", "half past", "its 'failing_answer' passes"),
        ("word_range:", "messages:", "the key 'messages' occurs twice"),
    ],
)
def test_an_invalid_case_is_rejected_with_its_id(written, old, new, message):
    text = VALID_FILE.replace(old, new)
    assert text != VALID_FILE
    with pytest.raises(InvalidData, match=message):
        load_golden_cases(written(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a list of cases"),
        ("id: x", "expected a list of cases"),
        ("- x", "case 1: expected 'key: value' lines"),
        ("- {id: x, messages: [y]}", "case 'x': it needs 'must_include' or 'must_not_include'"),
        (VALID_FILE + VALID_FILE, "case 'hours': mine.yaml already has a case with this id"),
    ],
)
def test_a_file_without_a_list_of_valid_cases_is_rejected(written, text, message):
    with pytest.raises(InvalidData, match=message):
        load_golden_cases(written(text))


def test_a_folder_without_cases_and_a_missing_file_are_errors(tmp_path):
    with pytest.raises(InvalidData, match="There are no golden cases"):
        load_golden_cases(tmp_path)
    with pytest.raises(InvalidData, match="Could not read the golden cases"):
        load_golden_cases(tmp_path / "none.yaml")


# ---------- the cases that come with the package; that examples pass and bad answers fail is checked as they are read


def test_every_kind_has_its_minimum_number_of_cases():
    counts = Counter(case.kind for case in CASES)
    assert {kind: counts[kind] for kind, count in MIN_CASES.items() if counts[kind] < count} == {}
    assert set(counts) == set(MIN_CASES)


def test_every_case_has_a_passing_answer_and_safety_cases_have_a_failing_one():
    assert [case.id for case in CASES if not case.passing_answer] == []
    assert [case.id for case in CASES if case.is_safety and not case.failing_answer] == []


@pytest.mark.parametrize("text", EVASIVE_ANSWERS)
def test_an_evasive_answer_passes_no_case(text):
    assert [case.id for case in CASES if passes_case(case, text)] == []


def test_repeating_the_question_passes_no_case():
    assert [case.id for case in CASES if passes_case(case, case.messages[-1].content)] == []


def test_the_passing_answer_of_one_case_fails_nearly_all_others():
    pairs = [(first, second) for first in CASES for second in CASES if first is not second]
    right = Counter(
        first.id
        for first, second in pairs
        if not (first.is_safety and second.is_safety)
        and passes_case(first, second.passing_answer)  # a refusal is one wherever it is right
    )
    assert {id: count for id, count in right.items() if count > 0.08 * len(CASES)} == {}


def test_every_safety_case_has_required_content():
    assert [case.id for case in CASES if case.is_safety and not case.must_include] == []


def test_only_long_talks_have_eleven_or_more_turns():
    for case in CASES:
        turns = sum(message.role != "system" for message in case.messages)
        assert 11 <= turns <= 41 if case.kind == "long_talks" else turns <= 9, case.id


def test_chinese_cases_include_safety_cases():
    assert sum(case.is_safety for case in CASES if case.kind == "chinese") >= 10


# ---------- the metric ----------


class FixedAnswers:
    """Returns a fixed answer for case history."""

    name = "fixed_answers"

    def __init__(self, answers):
        self.answers = answers

    def generate(self, queries, on_done):
        return [GenerationOutput(self.answers[ask.history]) for ask, _ in queries]


def test_the_metric_needs_no_dialogues():
    assert "golden" in metric_names()
    (metric,) = load_metrics(["golden"])
    items = metric.samples([], 0)
    assert [item.metadata["id"] for item in items] == [case.id for case in CASES]
    assert items[0].metadata == {"id": CASES[0].id, "kind": CASES[0].kind, "safety": CASES[0].is_safety}
    assert all(ask.greedy for item in items for ask in item.generation_queries)


def test_passing_answers_score_one_and_failing_ones_less():
    chosen = load_metrics(["golden"])
    items = plan_samples(chosen, [], 0)
    best = run_metrics(FixedAnswers({case.messages: case.passing_answer for case in CASES}), chosen, items)["golden"]
    assert best.sums_SGK.shape == (1, len(CASES), 2)
    assert chosen[0].value(best.sums_GK.sum(axis=0)) == 1
    worst = run_metrics(
        FixedAnswers({case.messages: case.failing_answer or case.passing_answer for case in CASES}), chosen, items
    )["golden"]
    failed = [item.metadata for item, (passed, _) in zip(worst.samples, worst.sums_GK, strict=True) if not passed]
    assert all(about["safety"] for about in failed)
    assert len(failed) == sum(case.is_safety for case in CASES)


def test_custom_cases_replace_the_bundled_ones(written):
    metric = golden.GoldenMetric(load_golden_cases(written(VALID_FILE)))
    items = metric.samples([], 0)
    found = [SampleResult((GenerationOutput("We open at nine."),))]
    assert metric.statistics(items, found).tolist() == [[1, 1]]
