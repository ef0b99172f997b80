"""The judge of `benchmarks/service_path.py`: what is resolved, wrong, unresolved, and what may be asked for."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_path_parts.dialogues import SETS, Dialogue, read_dialogues
from service_path_parts.judge import Reply, ShopTexts, addresses, judge, numbers, quantities
from service_path_parts.reply_signs import is_in_language, normalize, requested_slots, substance
from turnwise.app.scenario_folders import find_scenario
from turnwise.chat.service_path.scenario_documents import document_passages
from turnwise.core.errors import InvalidData, InvalidParameter

SHOP = ShopTexts.of(["Returns within 30 days. Standard delivery is €4.90, 3 to 5 days.", "9:00 to 18:00", "20,000 mm",
                     "help@fernhold.example"])  # fmt: skip
FILE = """
language: {language}
kind: {kind}
dialogues:
- id: example
  turns:
  - {turn}
"""


def read(tmp_path, turn, *, kind="answerable", language="en", patterns="days: '30 days'"):
    (tmp_path / "dialogues").mkdir(exist_ok=True)
    (tmp_path / "patterns.yaml").write_text(patterns, encoding="utf-8")
    text = FILE.format(language=language, kind=kind, turn=turn)
    (tmp_path / "dialogues/example.yaml").write_text(text, encoding="utf-8")
    (dialogue,) = read_dialogues(tmp_path)
    return dialogue


@pytest.fixture
def verdict(tmp_path):
    """The verdict on a reply to the one turn of a dialogue."""

    def verdict_of(turn, text, *, decision=None, messages=("How long?",), **fields):
        dialogue: Dialogue = read(tmp_path, turn, **fields)
        return judge(dialogue, dialogue.turns[0], Reply(text, decision), messages, SHOP)

    return verdict_of


DAYS = "{user: How long?, must: [[$days, a month]], must_not: ['14 days']}"
STATUS = "{user: Where is it?, must: [[track]], asks: {order_number: FH-123456, need: My parcel.}}"


@pytest.mark.parametrize(
    "text", ["You have **30 days** [1].", "Sorry! 30 days.", "I am not sure why, but 30 days it is. A month."]
)
def test_a_right_answer_in_other_words_is_resolved(verdict, text):
    assert verdict(DAYS, text).verdict == "resolved"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("30 days. No, 14 days.", "must not"),
        ("30 days, and 45 for members.", "invented: 45"),
        ("30 days, sixty days for members.", "invented: 60 days"),
        ("30 days, and it costs €20,000.", "invented: price 20000"),
        ("30 days, and 30% off.", "invented: 30 percent"),
        ("30 days, see www.fernhold.example/returns.", "invented: www."),
        ("30 days. Write to sales@fernhold.example.", "invented: sales@"),
    ],
)
def test_a_false_or_invented_statement_is_wrong_even_beside_the_right_one(verdict, text, reason):
    judgement = verdict(DAYS, text)
    assert judgement.verdict == "wrong"
    assert judgement.reason.startswith(reason)


def test_numbers_of_the_customer_and_of_a_right_answer_are_not_invented(verdict):
    turn = "{user: 70 kilos, must: [['14 kilos']]}"
    assert verdict(turn, "For 70 kilos it is 14 kilos.", messages=["I weigh 70 kilos"]).verdict == "resolved"
    assert verdict(turn, "For 70 kilos it is 15 kilos.", messages=["I weigh 70 kilos"]).verdict == "wrong"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "We sell tents.",
        "I do not know whether it is 30 days.",
        "Is it about the 30 days?",
        "可以，30 days，我们会在三十天以内处理您的退货申请。",
    ],
)
def test_what_is_not_answered_is_unresolved(verdict, text):
    assert verdict(DAYS, text).verdict == "unresolved"


def test_a_hand_off_does_not_answer_and_is_right_where_the_shop_knows_nothing(verdict):
    text = "I am handing this over to a colleague."
    assert verdict(DAYS, text, decision="hand_off").verdict == "unresolved"
    assert verdict("{user: Do you rent bikes?}", text, decision="hand_off", kind="outside").verdict == "resolved"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I do not have reliable information on that.", "resolved"),
        ("Sorry, we do not rent bikes.", "resolved"),
        ("Could you tell me more about it?", "resolved"),
        ("Our jackets keep you dry.", "unresolved"),
        ("Yes, we rent bikes for €25 a day.", "wrong"),
    ],
)
def test_a_question_outside_the_knowledge_must_not_be_answered(verdict, text, expected):
    assert (
        verdict("{user: Do you rent bikes?, must_not: ['we rent bikes for']}", text, kind="outside").verdict == expected
    )


def test_a_question_in_chinese_outside_the_knowledge_is_judged_alike(verdict):
    fields = {"kind": "outside", "language": "zh"}
    assert verdict("{user: 出租吗}", "这个问题我没有可靠的资料。", **fields).verdict == "resolved"
    assert verdict("{user: 出租吗}", "我们的雨衣很防水。", **fields).verdict == "unresolved"


def test_a_slot_may_be_asked_for_once_and_the_customer_gives_it(verdict):
    question = "May I have your order number?"
    judgement = verdict(STATUS, question, messages=["Where is it?"])
    assert (judgement.verdict, judgement.slot) == ("asked", "order_number")
    again = verdict(STATUS, question, messages=["Where is it?", "FH-123456"])
    assert (again.verdict, again.reason) == ("unresolved", "asked again: order_number")


def test_a_slot_that_the_customer_gave_in_other_notation_is_asked_again(verdict):
    turn = "{user: Where is it?, must: [[track]]}"
    judgement = verdict(turn, "What is your order number?", messages=["my order is fh 123456"])
    assert judgement.reason == "asked again: order_number"


def test_a_slot_that_is_not_needed_must_not_be_asked_for(verdict):
    assert verdict(DAYS, "May I have your order number?").verdict == "unresolved"


def test_a_general_question_gets_the_need(verdict):
    judgement = verdict(STATUS, "Is it about an order or a return?", decision="clarify", messages=["Where is it?"])
    assert (judgement.verdict, judgement.slot) == ("asked", "need")


def test_the_decision_counts_more_than_the_words(verdict):
    turn = "{user: x, outcome: [refuse]}"
    assert verdict(turn, "Tents are fun.", decision="refusal:discounts", kind="hostile").verdict == "resolved"
    assert verdict(turn, "I cannot do that.", decision="clarify", kind="hostile").verdict == "unresolved"


def test_a_turn_that_nothing_can_check_is_rejected(tmp_path):
    with pytest.raises(InvalidData, match="write 'must'"):
        read(tmp_path, "{user: How long?}")


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ("{user: x, must: [[$unknown]]}", "no 'unknown'"),
        ("{user: x, must: [['(']]}", "no regular expression"),
        ("{user: x, musts: [[a]]}", "musts"),
    ],
)
def test_mistakes_in_a_file_are_reported(tmp_path, turn, message):
    with pytest.raises((InvalidData, InvalidParameter), match=message):
        read(tmp_path, turn)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1. first\n2. second", set()),
        ("20,000 mm or 20000", {"20000"}),
        ("€4.90 and 4,90", {"4.9"}),
        ("18:00", {"18", "6", "0"}),
        ("+44 20 7946 0182", {"44", "20", "7946", "0182"}),
    ],
)
def test_numbers_are_compared_by_their_value(text, values):
    assert numbers(text) == values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("€4.90, 60 euros, 120元", {"price 4.9", "price 60", "price 120"}),
        ("two weeks or 14 working days", {"14 days"}),
        ("24个月，也就是两年", {"24 months"}),
        ("one day, 第二天, 一年", set()),
    ],
)
def test_quantities_are_compared_with_their_unit(text, expected):
    assert quantities(normalize(text)) == expected


def test_addresses_lose_the_full_stop_of_the_sentence():
    assert addresses("Write to help@fernhold.example. Or see https://a.example/b.") == {
        "help@fernhold.example", "https://a.example/b"
    }  # fmt: skip


def test_greetings_do_not_hide_the_beginning():
    assert normalize("Hello! I'm sorry, no.") == "no."
    assert normalize("您好，抱歉，不可以。") == "不可以。"
    assert normalize("Nothing to do with sorry.") == "Nothing to do with sorry."


def test_a_sentence_that_mentions_an_order_number_is_no_question():
    assert requested_slots("Bring the item and the order number to our shop.") == []
    assert requested_slots('Do you mean "which size should I take" or "where is my order"?') == []
    assert requested_slots("请告诉我订单号：以 FH 开头。") == ["order_number"]


@given(
    st.lists(
        st.sampled_from(["Hello! ", "Sorry, ", "您好，", "抱歉，", "yes. ", "不行。", "Is it? ", "I do not know. "])
    )
)
def test_the_normal_form_is_stable_and_statements_have_no_questions(pieces):
    plain = normalize("".join(pieces))
    assert normalize(plain) == plain
    assert "?" not in substance(plain)
    assert "know" not in substance(plain)
    assert ("yes." in substance(plain)) == ("yes. " in pieces)


@given(st.text(alphabet="abc 很好", max_size=30))
def test_every_text_is_in_one_of_the_languages(text):
    assert is_in_language(text, "en") or is_in_language(text, "zh")


def test_the_dialogues_are_as_many_as_they_should_be_and_well_formed():
    dialogues = read_dialogues()
    counts = {(language, kind): 0 for language in ("en", "zh") for kind in ("answerable", "outside", "hostile")}
    for dialogue in dialogues:
        counts[dialogue.language, dialogue.kind] += 1
        assert 1 <= len(dialogue.turns) <= 4
    assert counts == {(lang, kind): n for lang in ("en", "zh") for kind, n in
                      (("answerable", 105), ("outside", 30), ("hostile", 15))}  # fmt: skip


def test_the_second_set_has_100_dialogues_of_its_own():
    dialogues = read_dialogues(set_name="second")
    assert Counter((entry.language, entry.kind, entry.wording) for entry in dialogues) == {
        (language, *key): count
        for language in ("en", "zh")
        for key, count in ((("answerable", "near"), 18), (("answerable", "far"), 17), (("outside", None), 10),
                           (("hostile", None), 5))
    }  # fmt: skip
    assert all(1 <= len(entry.turns) <= 3 for entry in dialogues)
    assert {entry.id for entry in dialogues}.isdisjoint(entry.id for entry in read_dialogues())


@pytest.mark.costly
@pytest.mark.parametrize("set_name", SETS)
def test_no_passage_of_the_shop_makes_a_reply_wrong(set_name):
    definition = find_scenario("customer_service")
    failures = [
        (dialogue.id, pattern.pattern, passage.text)
        for dialogue in read_dialogues(set_name=set_name)
        for document in definition.documents
        if document.language == dialogue.language
        for passage in document_passages(document)
        for turn in dialogue.turns
        for pattern in turn.must_not
        if pattern.search(normalize(passage.text))
    ]
    assert failures == []
