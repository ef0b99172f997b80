"""The golden set: grading of answers, the file format, and properties of the bundled cases."""

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
def write_file(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def make_case(**criteria):
    return GoldenCase("case", "test", (Message("user", "?"),), **criteria)


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
    case = make_case(must_include=(("a", "b"), ("c",)))
    assert passes_case(case, "b c")
    assert case_errors(case, "a") == ["the answer contains none of: c"]
    assert case_errors(case, "d") == ["the answer contains none of: a, b", "the answer contains none of: c"]


def test_an_answer_without_words_fails():
    assert case_errors(make_case(must_not_include=("x",)), " ... ") == ["the answer has no words"]


def test_the_number_of_words_has_a_minimum_and_a_maximum():
    case = make_case(must_not_include=("x",), word_range=(2, 3))
    assert [passes_case(case, text) for text in ("a", "a b", "a b c", "a b c d")] == [False, True, True, False]
    assert case_errors(case, "a") == ["the answer has 1 words, not 2 to 3"]


# ---------- files ----------


def test_a_file_is_a_list_of_cases(write_file):
    (case,) = load_golden_cases(write_file(VALID_FILE))
    assert (case.id, case.kind, case.is_safety, case.word_range) == ("hours", "mine", False, (2, 12))
    assert [message.role for message in case.messages] == ["system", "user", "assistant", "user"]
    assert case.must_include == (("nine", "9"), ("open*",))


def test_all_yaml_files_of_a_folder_are_loaded_and_their_names_are_the_kinds(write_file, tmp_path):
    write_file(VALID_FILE)
    write_file(VALID_FILE.replace("hours", "other"), "safety.yml")
    write_file("not yaml: [", "notes.txt")
    assert [(case.id, case.kind, case.is_safety) for case in load_golden_cases(tmp_path)] == [
        ("hours", "mine", False),
        ("other", "safety", True),
    ]


def test_lists_inside_a_group_are_flattened(write_file):
    text = (
        "- {id: a, messages: [x], must_include: [&no [never, nay]]}\n"
        "- {id: b, messages: [x], must_include: [[*no, nope]]}\n"
    )
    assert load_golden_cases(write_file(text))[1].must_include == (("never", "nay", "nope"),)


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
def test_an_invalid_case_is_rejected_with_its_id(write_file, old, new, message):
    text = VALID_FILE.replace(old, new)
    assert text != VALID_FILE
    with pytest.raises(InvalidData, match=message):
        load_golden_cases(write_file(text))


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
def test_a_file_without_a_list_of_valid_cases_is_rejected(write_file, text, message):
    with pytest.raises(InvalidData, match=message):
        load_golden_cases(write_file(text))


def test_a_folder_without_cases_and_a_missing_file_are_errors(tmp_path):
    with pytest.raises(InvalidData, match="There are no golden cases"):
        load_golden_cases(tmp_path)
    with pytest.raises(InvalidData, match="Could not read the golden cases"):
        load_golden_cases(tmp_path / "none.yaml")


# ---------- bundled cases (loading also checks that passing answers pass and failing answers fail)


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


@pytest.mark.costly
def test_the_passing_answer_of_one_case_fails_nearly_all_others():
    pairs = [(first, second) for first in CASES for second in CASES if first is not second]
    num_passed = Counter(
        first.id
        for first, second in pairs
        if not (first.is_safety and second.is_safety)
        and passes_case(first, second.passing_answer)  # a refusal passes many safety cases
    )
    assert {id: count for id, count in num_passed.items() if count > 0.08 * len(CASES)} == {}


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
    """Returns a fixed answer for each history."""

    name = "fixed_answers"

    def __init__(self, answers):
        self.answers = answers

    def generate(self, queries, on_done):
        return [GenerationOutput(self.answers[query.history]) for query, _ in queries]


def test_the_metric_needs_no_dialogues():
    assert "golden" in metric_names()
    (metric,) = load_metrics(["golden"])
    samples = metric.samples([], 0)
    assert [sample.metadata["id"] for sample in samples] == [case.id for case in CASES]
    assert samples[0].metadata == {"id": CASES[0].id, "kind": CASES[0].kind, "safety": CASES[0].is_safety}
    assert all(query.greedy for sample in samples for query in sample.generation_queries)


def test_passing_answers_score_one_and_failing_ones_less():
    metrics = load_metrics(["golden"])
    samples = plan_samples(metrics, [], 0)
    passing = FixedAnswers({case.messages: case.passing_answer for case in CASES})
    result = run_metrics(passing, metrics, samples)["golden"]
    assert result.sums_SGK.shape == (1, len(CASES), 2)
    assert metrics[0].value(result.sums_GK.sum(axis=0)) == 1
    failing = FixedAnswers({case.messages: case.failing_answer or case.passing_answer for case in CASES})
    result = run_metrics(failing, metrics, samples)["golden"]
    failed = [sample.metadata for sample, (passed, _) in zip(result.samples, result.sums_GK, strict=True) if not passed]
    assert all(metadata["safety"] for metadata in failed)
    assert len(failed) == sum(case.is_safety for case in CASES)


def test_custom_cases_replace_the_bundled_ones(write_file):
    metric = golden.GoldenMetric(load_golden_cases(write_file(VALID_FILE)))
    results = [SampleResult((GenerationOutput("We open at nine."),))]
    assert metric.statistics(metric.samples([], 0), results).tolist() == [[1, 1]]
