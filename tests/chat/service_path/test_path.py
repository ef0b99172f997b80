"""The decisions of the service path, in the order of its steps, without stored conversations."""

import pytest

from service_scenarios import ask
from turnwise.chat.service_path.intent_classifier import IntentClassifier, IntentPrediction, IntentScore
from turnwise.chat.service_path.path import STEPS


def steps(report):
    """Outcomes by step, without steps that had nothing to do."""
    silent = ("none", "not_needed", "model_speaks")
    return {decision.step: decision.outcome for decision in report.decisions if decision.outcome not in silent}


@pytest.mark.parametrize(
    ("message", "decision", "text"),
    [
        ("There is smoke from my lamp!", "safety:fire", "Pull the plug, leave the room and call 999."),
        ("灯着火了怎么办", "safety:fire", "请立即拔掉插头，离开房间并拨打119。"),
        ("can I have a discount", "refusal:discounts", "I cannot give discounts."),
        ("You idiot", "refusal:hostile", "I will answer questions about our lamps."),
        ("where is my parcel LW-123456", "template:order_status", "Order LW-123456 is on its way."),
        ("what are your opening hours?", "template:opening_hours", "We are open 9:00 to 18:00, Monday to Saturday."),
        ("营业时间是什么时候？", "template:opening_hours", "营业时间是周一至周六9:00到18:00。"),
        ("it does not work", "clarify", "What exactly is broken?"),
        ("how are you today", "generate", "I am a model."),
    ],
)
def test_a_message_is_answered_by_the_first_step_that_can(shop, reply, message, decision, text):
    service, _ = shop()
    response = reply(service, ask(message))
    assert (response.service.decision, response.text) == (decision, text)
    assert response.service.language == ("en" if message.isascii() else "zh")


def test_the_safety_line_comes_before_everything_else(shop, reply):
    service, model = shop()
    report = reply(service, ask("I want to talk to a person, a discount, and my lamp is on fire")).service
    assert [decision.step for decision in report.decisions] == ["safety_line"]
    assert STEPS[0].__name__.endswith("safety_line")
    assert model.requests == [], "the model is not asked"


def test_every_decision_is_reported_with_score_threshold_and_duration(shop, reply):
    report = reply(shop()[0], ask("what are your opening hours?")).service
    assert [decision.step for decision in report.decisions] == [
        "safety_line", "handoff_state", "refusal", "intent", "template_answer",
    ]  # fmt: skip
    intent = report.decisions[3]
    assert (intent.outcome, intent.detail) == ("confident", "opening_hours")
    assert 0 < intent.threshold <= intent.score <= 1
    assert all(decision.milliseconds >= 0 for decision in report.decisions)


def test_a_missing_value_is_asked_for_and_completes_the_template(shop, reply):
    service, model = shop()
    question = reply(service, ask("where is my parcel?"))
    assert (question.service.decision, question.text) == ("clarify", "What is your order number?")
    answer = reply(service, ask("where is my parcel?", question.text, "it is lw 99, sorry, LW-654321"))
    assert answer.text == "Order LW-654321 is on its way."
    assert steps(answer.service)["intent"] == "continued"
    assert model.requests == []


def test_a_message_without_words_is_answered_in_the_language_of_the_messages_before(shop, reply):
    service, _ = shop()
    answer = reply(service, ask("我的包裹到哪儿了", "请问订单号是多少？", "LW-654321"))
    assert (answer.service.language, answer.text) == ("zh", "订单LW-654321正在配送中。")


def test_a_value_continues_a_question_that_was_asked_in_other_words(shop, reply):
    service, _ = shop()
    answer = reply(service, ask("where is my parcel?", "Sure, may I have the number on your order?", "LW-654321"))
    assert answer.text == "Order LW-654321 is on its way."


def test_a_question_may_be_left_for_another_one(shop, reply):
    service, _ = shop()
    answer = reply(service, ask("where is my parcel?", "What is your order number?", "what are your opening hours?"))
    assert answer.service.decision == "template:opening_hours"


def test_a_choice_tolerates_a_misspelling(shop, reply):
    service, _ = shop()
    answer = reply(service, ask("I want another size of shade", "Which size do you need?", "the lagre one please"))
    assert answer.text == "We send you a large shade."


def test_values_are_data_and_never_syntax(shop, reply):
    service, _ = shop()
    answer = reply(
        service, ask("where is my parcel?", "What is your order number?", "{{ opening_hours }}{% raw %} LW-123456")
    )
    assert answer.text == "Order LW-123456 is on its way."


def test_a_supported_answer_of_the_model_is_cited(shop, reply):
    service, model = shop("Every lamp has a warranty of 24 months.")
    response = reply(service, ask("how long is the guarantee, the warranty?"))
    assert response.text == "Every lamp has a warranty of 24 months. [1]"
    assert (response.service.decision, steps(response.service)["grounded_answer"]) == ("knowledge", "supported")
    (citation,) = response.service.citations
    assert citation.text == "Every lamp has a warranty of 24 months from the day of purchase."
    assert (citation.number, citation.source, len(citation.document_hash)) == (1, "Warranty", 64)
    prompt = model.requests[0].messages
    assert prompt[0].content == "You answer customers of the lamp shop."
    assert "<passages>" in prompt[-1].content
    assert model.requests[0].sampling == {"temperature": 0.25}


def test_an_answer_that_a_fact_supports_cites_the_fact(shop, reply):
    service, _ = shop("Every lamp has a warranty of 24 months. We are open 9:00 to 18:00, Monday to Saturday.")
    response = reply(service, ask("how long is the guarantee, the warranty?"))
    assert response.text.endswith("24 months. [1] We are open 9:00 to 18:00, Monday to Saturday. [2]")
    assert response.service.citations[1].source == "facts.yaml, opening_hours"


@pytest.mark.parametrize(
    "invention",
    [
        "Every lamp has a warranty of 36 months.",
        "Every lamp has a warranty of 24 months from Acme Insurance.",
        "Every lamp does not have a warranty of 24 months.",
        "Send gold to my uncle, the prince, and every problem ends.",
        "",
    ],
)
def test_an_answer_that_the_passages_do_not_support_becomes_a_sentence_of_them(shop, reply, invention):
    service, _ = shop(invention)
    response = reply(service, ask("how long is the guarantee, the warranty?"))
    assert response.text == "Every lamp has a warranty of 24 months from the day of purchase. [1]"
    assert steps(response.service)["grounded_answer"] == "extracted"
    assert len(response.service.citations) == 1


def test_the_citation_is_the_text_of_the_document(shop, reply, tmp_path):
    service, _ = shop("nothing")
    (citation,) = reply(service, ask("保修多久？")).service.citations
    document = (tmp_path / "scenarios/shop/knowledge/zh/warranty.md").read_text(encoding="utf-8")
    assert document[citation.start : citation.end] == citation.text == "所有灯具自购买之日起保修24个月。"


@pytest.fixture
def predicts(monkeypatch):
    """`predicts(intent=probability, ...)`: what the classifier predicts for every message."""

    def predicts(**probabilities):
        scores = tuple(IntentScore(intent, probability) for intent, probability in probabilities.items())

        async def predict(self, message):
            return IntentPrediction(scores)

        monkeypatch.setattr(IntentClassifier, "predict", predict)

    return predicts


@pytest.mark.parametrize(
    ("reply_text", "decision"),
    [
        ("the second one", "template:opening_hours"),
        ("第二个", "template:opening_hours"),
        ("the opening hours", "template:opening_hours"),
        ("营业时间", "template:opening_hours"),
        ("the first", "clarify"),
    ],
)
def test_an_uncertain_message_gets_a_question_between_two_intents_and_the_reply_chooses(
    shop, reply, predicts, reply_text, decision
):
    predicts(order_status=0.3, opening_hours=0.25)
    service, _ = shop(changes=WITHOUT_DOCUMENTS)
    question = reply(service, ask("parcel open"))
    assert question.text == "Do you mean: where an order is, or our opening hours, Sundays too?"
    assert (question.service.decision, steps(question.service)["clarification"]) == ("clarify", "offered")
    answer = reply(service, ask("parcel open", question.text, reply_text))
    assert answer.service.decision == decision
    if decision == "clarify":
        assert answer.text == "What is your order number?", "the question of the first intent"


@pytest.mark.parametrize("message", ["1 lamp please", "first of all, where is my parcel?", "2 lamps broke", "hm", "no"])
def test_a_message_that_is_no_choice_chooses_none_of_two_intents(shop, reply, predicts, message):
    predicts(order_status=0.3, opening_hours=0.25)
    service, _ = shop(changes=WITHOUT_DOCUMENTS)
    question = "Do you mean: where an order is, or our opening hours, Sundays too?"
    report = reply(service, ask("parcel open", question, message)).service
    assert steps(report)["intent"] == "uncertain"


def test_an_intent_without_a_title_is_named_by_an_example_and_an_unclear_one_is_never_offered(shop, reply, predicts):
    predicts(broken=0.3, warranty=0.28, order_status=0.25)
    service, _ = shop(changes=WITHOUT_DOCUMENTS)
    question = reply(service, ask("hm"))
    assert question.text == "Do you mean: “how long is the guarantee”, or where an order is?"
    predicts(small_talk=0.1)
    answer = reply(service, ask("hm", question.text, "2"))
    assert answer.text == "What is your order number?"


def test_a_long_message_of_another_intent_is_no_choice_of_a_size(shop, reply, predicts):
    predicts(talk_to_person=0.95)
    service, _ = shop()
    texts = ["I want another size of shade", "Which size do you need?"]
    assert reply(service, ask(*texts, "the large one please")).text == "We send you a large shade."
    answer = reply(service, ask(*texts, "I have a big problem here, get me somebody who can help"))
    assert answer.service.decision == "hand_off"


def test_two_likely_intents_that_are_answered_in_the_same_way_need_no_question(shop, reply, predicts):
    predicts(small_talk=0.3, chat=0.25)
    intents = "{}: {{answer: generate, examples: {{en: [a]}}}}"
    changes = {"intents": "\n".join(map(intents.format, ("small_talk", "chat")))}
    response = reply(shop(changes=WITHOUT_DOCUMENTS | changes)[0], ask("hm"))
    assert (response.service.decision, steps(response.service)["intent"]) == ("generate", "same_answer")


def test_an_unlikely_message_is_answered_as_the_scenario_says(shop, reply, predicts):
    predicts(order_status=0.1, opening_hours=0.05)
    response = reply(shop(changes=WITHOUT_DOCUMENTS)[0], ask("qwertz"))
    assert (response.service.decision, steps(response.service)["clarification"]) == ("hand_off", "unlikely")


UNSURE = """
schema_version: 1
title: {en: Lamp shop}
description: {en: A shop.}
languages: [en, zh]
default_language: en
instruction: {en: You answer customers.}
unmatched: hand_off
limits: {max_clarifications: 1}
"""
WITHOUT_DOCUMENTS = {"knowledge/en/warranty": None, "knowledge/zh/warranty": None, "scenario": UNSURE}


def test_after_too_many_questions_back_a_person_is_called(shop, reply):
    service, _ = shop()
    texts = ["it does not work", "What exactly is broken?"] * 2
    response = reply(service, ask(*texts, "it does not work"))
    assert response.service.decision == "hand_off"
    assert steps(response.service)["clarification"] == "limit"


def test_without_a_stored_conversation_no_person_can_take_over_and_it_says_so(shop, reply):
    response = reply(shop()[0], ask("I want to talk to a person"))
    assert (response.service.decision, response.service.is_notice) == ("hand_off", True)
    assert response.text == "I cannot connect you with a person in this conversation."


def test_a_rewriting_of_a_template_uses_it_as_draft_and_keeps_its_facts(shop, reply):
    service, model = shop("Good news! Order LW-123456 is on its way.", rewrites_templates=True)
    response = reply(service, ask("where is my parcel LW-123456"))
    assert response.text == "Good news! Order LW-123456 is on its way."
    assert model.requests[0].output.prediction == "Order LW-123456 is on its way."
    service, _ = shop("Good news! Order LW-123457 is on its way.", rewrites_templates=True)
    response = reply(service, ask("where is my parcel LW-123456"))
    assert response.text == "Order LW-123456 is on its way.", "another number: the rewriting is dropped"


def test_a_generated_answer_sees_the_instruction_and_not_the_sentences_about_handoffs(shop, reply):
    service, model = shop()
    notices = ["A colleague takes over now.", "Ana has left the conversation. The assistant answers again."]
    reply(service, ask("hello", notices[0], "hi", notices[1], "how are you today"))
    assert [message.content for message in model.requests[0].messages] == [
        "You answer customers of the lamp shop.", "hello", "hi", "how are you today",
    ]  # fmt: skip
