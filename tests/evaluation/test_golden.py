"""The golden set: its files are read strictly, every case can be passed, and none is passed by saying nothing."""

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
PROMISED = {  # at least so many of a kind
    "support": 80,
    "small_talk": 50,
    "safety": 70,
    "long_talks": 25,
    "hurried": 35,
    "chinese": 50,
    "instructions": 30,
}
NOTHING = (
    "",
    "...",
    "I don't know what you mean.",
    "Sorry, I didn't understand that. Could you say it in other words?",
    "The weather is nice today.",
    "asdf qwer",
    "我不知道你在说什么。",
)

GOOD = """
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


def case(**told):
    return GoldenCase("one", "test", (Message("user", "?"),), **told)


# ---------- how an answer is judged ----------


@pytest.mark.parametrize(
    ("alternative", "text", "found"),
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
def test_an_alternative_is_found_as_whole_words(alternative, text, found):
    assert passes_case(case(must_include=((alternative,),)), text) is found
    assert passes_case(case(must_not_include=(alternative,)), text) is not found


def test_one_of_each_group_has_to_be_said():
    one = case(must_include=(("a", "b"), ("c",)))
    assert passes_case(one, "b c")
    assert case_errors(one, "a") == ["the answer contains none of: c"]
    assert case_errors(one, "d") == ["the answer contains none of: a, b", "the answer contains none of: c"]


def test_nothing_passes_that_says_nothing():
    assert case_errors(case(must_not_include=("x",)), " ... ") == ["the answer has no words"]


def test_the_number_of_words_is_bounded_on_both_sides():
    one = case(must_not_include=("x",), word_range=(2, 3))
    assert [passes_case(one, text) for text in ("a", "a b", "a b c", "a b c d")] == [False, True, True, False]
    assert case_errors(one, "a") == ["the answer has 1 words, not 2 to 3"]


# ---------- reading ----------


def test_a_case_is_read_as_written(written):
    (read,) = load_golden_cases(written(GOOD))
    assert (read.id, read.kind, read.is_safety, read.word_range) == ("hours", "mine", False, (2, 12))
    assert [message.role for message in read.messages] == ["system", "user", "assistant", "user"]
    assert read.must_include == (("nine", "9"), ("open*",))


def test_all_files_of_a_folder_are_read_and_their_names_are_the_kinds(written, tmp_path):
    written(GOOD)
    written(GOOD.replace("hours", "other"), "safety.yml")
    written("not yaml: [", "notes.txt")
    assert [(each.id, each.kind, each.is_safety) for each in load_golden_cases(tmp_path)] == [
        ("hours", "mine", False),
        ("other", "safety", True),
    ]


def test_lists_within_a_group_are_part_of_it(written):
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
def test_what_is_wrong_with_a_file_is_said(written, old, new, message):
    text = GOOD.replace(old, new)
    assert text != GOOD
    with pytest.raises(InvalidData, match=message):
        load_golden_cases(written(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a list of cases"),
        ("id: x", "expected a list of cases"),
        ("- x", "case 1: expected 'key: value' lines"),
        ("- {id: x, messages: [y]}", "case 'x': it needs 'must_include' or 'must_not_include'"),
        (GOOD + GOOD, "case 'hours': mine.yaml already has a case with this id"),
    ],
)
def test_what_is_no_list_of_cases_is_refused(written, text, message):
    with pytest.raises(InvalidData, match=message):
        load_golden_cases(written(text))


def test_a_folder_without_cases_and_a_missing_file_are_errors(tmp_path):
    with pytest.raises(InvalidData, match="There are no golden cases"):
        load_golden_cases(tmp_path)
    with pytest.raises(InvalidData, match="Could not read the golden cases"):
        load_golden_cases(tmp_path / "none.yaml")


# ---------- the cases that come with the package; that examples pass and bad answers fail is checked as they are read


def test_there_are_as_many_of_each_kind_as_promised():
    counts = Counter(each.kind for each in CASES)
    assert {kind: counts[kind] for kind, count in PROMISED.items() if counts[kind] < count} == {}
    assert set(counts) == set(PROMISED)


def test_every_case_has_an_example_and_those_about_safety_an_answer_that_must_fail():
    assert [each.id for each in CASES if not each.passing_answer] == []
    assert [each.id for each in CASES if each.is_safety and not each.failing_answer] == []


@pytest.mark.parametrize("text", NOTHING)
def test_saying_nothing_passes_no_case(text):
    assert [each.id for each in CASES if passes_case(each, text)] == []


def test_repeating_what_was_asked_passes_no_case():
    assert [each.id for each in CASES if passes_case(each, each.messages[-1].content)] == []


def test_an_answer_that_is_right_somewhere_is_wrong_nearly_everywhere_else():
    others = [(one, other) for one in CASES for other in CASES if one is not other]
    right = Counter(
        one.id
        for one, other in others
        if not (one.is_safety and other.is_safety)
        and passes_case(one, other.passing_answer)  # a refusal is one wherever it is right
    )
    assert {id: count for id, count in right.items() if count > 0.08 * len(CASES)} == {}


def test_what_is_said_in_a_case_about_safety_is_not_only_what_was_asked():
    """An answer that knows nothing passes none, so there is always something to be said."""
    assert [each.id for each in CASES if each.is_safety and not each.must_include] == []


def test_long_talks_are_long_and_others_are_not():
    for each in CASES:
        turns = sum(message.role != "system" for message in each.messages)
        assert 11 <= turns <= 41 if each.kind == "long_talks" else turns <= 9, each.id


def test_chinese_cases_are_about_safety_too():
    assert sum(each.is_safety for each in CASES if each.kind == "chinese") >= 10


# ---------- the metric ----------


class Parrot:
    """Answers with a case's example, or its bad answer where it has one."""

    name = "parrot"

    def __init__(self, answers):
        self.answers = answers

    def generate(self, queries, on_done):
        return [GenerationOutput(self.answers[ask.history]) for ask, _ in queries]


def test_it_is_registered_and_looks_at_no_data():
    assert "golden" in metric_names()
    (metric,) = load_metrics(["golden"])
    items = metric.samples([], 0)
    assert [item.metadata["id"] for item in items] == [each.id for each in CASES]
    assert items[0].metadata == {"id": CASES[0].id, "kind": CASES[0].kind, "safety": CASES[0].is_safety}
    assert all(ask.greedy for item in items for ask in item.generation_queries)


def test_examples_are_all_right_and_bad_answers_lower_the_share():
    chosen = load_metrics(["golden"])
    items = plan_samples(chosen, [], 0)
    best = run_metrics(Parrot({each.messages: each.passing_answer for each in CASES}), chosen, items)["golden"]
    assert best.sums_SGK.shape == (1, len(CASES), 2)
    assert chosen[0].value(best.sums_GK.sum(axis=0)) == 1
    worst = run_metrics(
        Parrot({each.messages: each.failing_answer or each.passing_answer for each in CASES}), chosen, items
    )["golden"]
    failed = [item.metadata for item, (passed, _) in zip(worst.samples, worst.sums_GK, strict=True) if not passed]
    assert all(about["safety"] for about in failed)
    assert len(failed) == sum(each.is_safety for each in CASES)


def test_a_person_may_bring_cases_of_his_own(written):
    metric = golden.GoldenMetric(load_golden_cases(written(GOOD)))
    items = metric.samples([], 0)
    found = [SampleResult((GenerationOutput("We open at nine."),))]
    assert metric.statistics(items, found).tolist() == [[1, 1]]
