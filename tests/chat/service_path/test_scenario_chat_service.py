"""Scenarios with stored conversations: reports, slots, hand-offs, and nothing across customers."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from types import SimpleNamespace

import pytest

from service_scenarios import ask
from turnwise.chat.service_path import answer_stream, handoff_watch
from turnwise.chat.service_path.scenario_chat_service import ScenarioChatService
from turnwise.core.access import Principal
from turnwise.core.chat_request import ChatRequest, ContextOptions, OutputOptions
from turnwise.core.chat_response import Usage
from turnwise.core.errors import InvalidParameter, NotFound, Unavailable
from turnwise.core.handoff_notices import handoff_notices
from turnwise.core.handoffs import HandoffRequest
from turnwise.core.messages import Message
from turnwise.core.served_versions import AnsweringVersion

OPEN = "A colleague takes over now."


@pytest.fixture
def conversation(store):
    return store.create(title="", model="scripted").id


def stored(store, conversation):
    return store.get(conversation).messages


def texts(store, conversation):
    return [(entry.message.role, entry.message.content) for entry in stored(store, conversation)]


def claim(store, conversation):
    """A person takes over. Returns the id of the hand-off."""
    handoff = store.handoffs.current(conversation)
    store.handoffs.apply(handoff.id, "claim", claim="c", agent="Ana")
    return handoff.id


def create_for(owner, store):
    """A new conversation of a key."""
    return store.for_principal(Principal(owner, "user")).create(title="", model="scripted").id


async def collect(stream):
    async with aclosing(stream) as deltas:
        return [delta async for delta in deltas]


@pytest.mark.parametrize("output", [OutputOptions(prompt_output="distribution"), OutputOptions(prompt_only=True)])
def test_the_model_alone_reports_on_its_tokens_also_beside_a_default_scenario(stored_shop, store, conversation, output):
    service, model = stored_shop("Every lamp has a warranty of 24 months.")
    default = ScenarioChatService(model, service._library, default_scenario="shop")
    messages = (Message("user", "how long is the guarantee, the warranty?"),)
    deltas = asyncio.run(collect(default.stream(ChatRequest(messages, output=output))))
    assert [delta.service for delta in deltas if delta.service] == []
    assert model.requests[-1].output == output


def test_a_scenario_does_not_continue_given_tokens(stored_shop, store, conversation):
    service, _ = stored_shop("Every lamp has a warranty of 24 months.")
    model_tokens = SimpleNamespace(answer_text=lambda ids: "Hello")
    service._model = SimpleNamespace(tokens=model_tokens)
    request = ask("how long is the guarantee?", conversation=conversation)
    request = replace(request, context=ContextOptions(answer_ids=(5,)))
    with pytest.raises(InvalidParameter, match="'answer_tokens' cannot be combined with the scenario"):
        asyncio.run(collect(service.stream(request)))


def test_the_report_is_the_same_in_the_stream_the_response_and_the_store(stored_shop, store, conversation):
    service, _ = stored_shop("Every lamp has a warranty of 24 months.")
    deltas = asyncio.run(
        collect(service.stream(ask("how long is the guarantee, the warranty?", conversation=conversation)))
    )
    assert [delta.service for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    report = deltas[-1].service
    assert report.citations
    answer = stored(store, conversation)[-1]
    assert answer.message.content == "".join(delta.text for delta in deltas)
    assert answer.meta["service"] == report.as_dict()
    assert (answer.meta["finish"], answer.meta["model"]) == ("stop", "scripted")


def state_after(store, conversation):
    """The state that is stored with the newest message."""
    return stored(store, conversation)[-1].meta["service_state"]


def test_the_state_is_stored_with_the_answer_that_it_follows(stored_shop, reply, store, conversation):
    service, _ = stored_shop()
    answer = reply(service, ask("where is my parcel LW-123456", conversation=conversation))
    assert state_after(store, conversation)["slots"] == {"order_number": "LW-123456"}
    messages = ["where is my parcel LW-123456", answer.text, "it does not work"]
    reply(service, ask(*messages, conversation=conversation))
    assert state_after(store, conversation)["slots"] == {"order_number": "LW-123456"}
    assert state_after(store, conversation)["attempts"] == ["template:order_status", "clarify"]


def test_an_edited_message_begins_without_what_was_said_after_it(stored_shop, reply, store, conversation):
    service, _ = stored_shop()
    reply(service, ask("where is my parcel LW-123456", conversation=conversation))
    edited = reply(service, ask("where is my parcel?", conversation=conversation))
    assert edited.text == "What is your order number?"
    later = ask("how are you today", "I am a model.", "where is my parcel?", conversation=conversation)
    assert reply(service, later).text == "What is your order number?"


def test_a_regenerated_answer_has_the_state_before_it(stored_shop, reply, store, conversation):
    service, _ = stored_shop()
    for _ in range(4):  # each is the second message of its own branch, so the limit of questions is not reached
        response = reply(service, ask("hello", "Hi.", "it does not work", conversation=conversation))
        assert response.service.decision == "clarify"
        assert state_after(store, conversation)["clarifications"] == 1


def test_a_choice_between_intents_belongs_to_the_branch_with_the_question(stored_shop, store, reply, conversation):
    service, _ = stored_shop()
    root = store.append(conversation, [Message("user", "hm")], parent_id=None)[0]
    offered = {"offered": ["order_status", "opening_hours"]}
    for text, state in (("A or B?", offered), ("Pardon?", {})):
        store.append(conversation, [Message("assistant", text)], {"service_state": state}, parent_id=root)
    assert reply(service, ask("hm", "A or B?", "2", conversation=conversation)).service.decision.endswith("hours")
    report = reply(service, ask("hm", "Pardon?", "2", conversation=conversation)).service
    assert not report.decision.endswith("hours"), "the question was asked on another branch"


def test_a_value_never_reaches_another_conversation_or_owner(stored_shop, reply, store):
    service, model = stored_shop()
    conversation = create_for("ada", store)
    reply(service, ask("where is my parcel LW-123456", conversation=conversation, tenant="ada"))
    other = store.create(title="", model="scripted").id
    for tenant in ("ada", "bob"):
        fresh = create_for(tenant, store)
        answer = reply(service, ask("where is my parcel?", conversation=fresh, tenant=tenant))
        assert answer.text == "What is your order number?"
    assert reply(service, ask("where is my parcel?", conversation=other)).text == "What is your order number?"
    assert reply(service, ask("where is my parcel?", tenant="ada")).text == "What is your order number?"
    before = texts(store, conversation)
    for scenario in ("shop", None):
        with pytest.raises(NotFound, match="There is no conversation"):
            reply(service, ask("where is my parcel?", conversation=conversation, tenant="bob", scenario=scenario))
    assert texts(store, conversation) == before
    assert model.requests == []


def test_a_person_gets_a_summary_and_what_was_tried(stored_shop, reply, store, conversation):
    service, _ = stored_shop()
    messages = ["where is my parcel LW-123456"]
    for text in ("it does not work", "I want to talk to a person"):
        messages += [reply(service, ask(*messages, conversation=conversation)).text, text]
    response = reply(service, ask(*messages, conversation=conversation))
    assert (response.text, response.service.decision, response.service.is_notice) == (OPEN, "hand_off", True)
    handoff = store.handoffs.current(conversation)
    assert (handoff.state, handoff.request.reason) == ("waiting", "intent:talk_to_person")
    assert handoff.request.attempts == ("template:order_status", "clarify")
    assert "“I want to talk to a person”" in handoff.request.summary
    assert "order_number: LW-123456" in handoff.request.summary
    last = stored(store, conversation)[-1]
    assert last.message.content == OPEN
    assert last.meta["service"] == response.service.as_dict()
    assert last.meta["notice"] == "open"


def test_an_emergency_calls_a_person_after_the_line_that_is_said_word_for_word(stored_shop, reply, store, conversation):
    service, _ = stored_shop()
    response = reply(service, ask("my lamp is on fire", conversation=conversation))
    assert response.text == f"Pull the plug, leave the room and call 999.\n\n{OPEN}"
    assert store.handoffs.current(conversation).request.reason == "safety:fire"


def test_the_model_is_silent_while_a_person_speaks_and_the_person_gets_the_messages(
    stored_shop, reply, store, conversation
):
    service, model = stored_shop()
    reply(service, ask("I want to talk to a person", conversation=conversation))
    waiting = reply(service, ask("I want to talk to a person", OPEN, "hello?", conversation=conversation))
    assert (waiting.text, waiting.service.decision) == (handoff_notices("en")["wait"], "hand_off")
    id = claim(store, conversation)
    store.handoffs.send(id, "c", "I am Ana.")
    silent = reply(
        service, ask("I want to talk to a person", OPEN, "hello?", waiting.text, "good", conversation=conversation)
    )
    assert (silent.text, silent.service.decision) == ("", "person")
    assert texts(store, conversation) == [
        ("user", "I want to talk to a person"), ("assistant", OPEN), ("user", "hello?"), ("assistant", waiting.text),
        ("assistant", "Ana has joined the conversation."), ("assistant", "I am Ana."), ("user", "good"),
    ]  # fmt: skip
    assert model.requests == []


def test_an_emergency_is_answered_even_while_a_person_speaks(stored_shop, reply, store, conversation):
    service, _ = stored_shop()
    reply(service, ask("I want to talk to a person", conversation=conversation))
    claim(store, conversation)
    response = reply(
        service, ask("I want to talk to a person", OPEN, "I got an electric shock", conversation=conversation)
    )
    assert response.text == "Call 999 now."
    assert texts(store, conversation)[-2:] == [("user", "I got an electric shock"), ("assistant", "Call 999 now.")]


@pytest.fixture
def handoff_opens_meanwhile(monkeypatch, store, conversation):
    """A person is called while the path decides."""

    decide = ScenarioChatService._decide

    async def decide_and_open(service, turn, context):
        result = await decide(service, turn, context)
        store.handoffs.open(HandoffRequest(conversation, notices={"open": "One moment."}))
        return result

    monkeypatch.setattr(ScenarioChatService, "_decide", decide_and_open)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("I got an electric shock", "Call 999 now."),
        ("my lamp is on fire", "Pull the plug, leave the room and call 999."),
    ],
)
def test_an_emergency_is_answered_although_a_handoff_opens_at_the_same_moment(
    stored_shop, reply, store, conversation, handoff_opens_meanwhile, message, line
):
    service, _ = stored_shop()
    response = reply(service, ask(message, conversation=conversation))
    assert response.text == line
    assert texts(store, conversation) == [("user", message), ("assistant", "One moment."), ("assistant", line)]
    assert stored(store, conversation)[-1].meta["service"] == response.service.as_dict()
    assert store.handoffs.current(conversation).revision == 2, "the page of the person looks again"


def test_the_page_of_the_person_sees_a_safety_line_that_is_said_during_a_handoff(
    stored_shop, reply, store, conversation
):
    service, _ = stored_shop()
    reply(service, ask("I want to talk to a person", conversation=conversation))
    claim(store, conversation)
    seen = store.handoffs.revision()
    reply(service, ask("I want to talk to a person", OPEN, "I got an electric shock", conversation=conversation))
    assert store.handoffs.revision() == seen + 2, "the message of the customer, and the line"


def test_an_emergency_is_answered_although_the_store_fails(stored_shop, reply, store, conversation, monkeypatch):
    service, _ = stored_shop()

    def fail(*_, **__):
        raise Unavailable("The store is busy.")

    for method in ("ensure_branch", "get"):
        monkeypatch.setattr(store, method, fail)
        assert reply(service, ask("my lamp is on fire", conversation=conversation)).text.startswith("Pull the plug")
        with pytest.raises(Unavailable):
            reply(service, ask("what are your opening hours?", conversation=conversation))


def test_an_emergency_calls_a_person_although_the_customer_leaves_at_once(stored_shop, store, conversation):
    service, _ = stored_shop()

    async def leave():
        async with aclosing(service.stream(ask("my lamp is on fire", conversation=conversation))) as deltas:
            async for _ in deltas:
                break
        await asyncio.gather(*answer_stream._STORING)

    asyncio.run(leave())
    assert store.handoffs.current(conversation).request.reason == "safety:fire"
    assert stored(store, conversation)[-1].message.content.startswith("Pull the plug")


@pytest.mark.parametrize("scenario", ["shop", None])
def test_after_the_return_the_model_speaks_and_sees_no_sentence_about_the_person(
    stored_shop, reply, store, conversation, scenario
):
    service, model = stored_shop()
    reply(service, ask("I want to talk to a person", conversation=conversation))
    id = claim(store, conversation)
    store.handoffs.send(id, "c", "Your lamp is fine.")
    silent = reply(service, ask("I want to talk to a person", OPEN, "hm", conversation=conversation))
    assert silent.text == ""
    store.handoffs.apply(id, "return", claim="c")
    request = ask("I want to talk to a person", OPEN, "hm", "", "how are you today", conversation=conversation,
                  scenario=scenario)  # fmt: skip
    assert reply(service, request).text == "I am a model."
    seen = [message.content for message in model.requests[-1].messages if message.role != "system"]
    assert seen == ["I want to talk to a person", "Your lamp is fine.", "hm", "how are you today"]
    stored_texts = [text for _, text in texts(store, conversation)]
    assert stored_texts[-2:] == ["how are you today", "I am a model."]
    assert "Your lamp is fine." in stored_texts, "the client did not know it, and it is still in the same branch"


def test_a_handoff_silences_requests_without_a_scenario_too(stored_shop, reply, store, conversation):
    service, model = stored_shop()
    store.handoffs.open(HandoffRequest(conversation, language="zh"))
    request = ChatRequest((Message("user", "hi"),), conversation_id=conversation)
    assert reply(service, request).text == handoff_notices("zh")["wait"]
    claim(store, conversation)
    assert reply(service, request).text == ""
    assert model.requests == []


def test_an_answer_that_is_being_generated_ends_when_a_person_takes_over(stored_shop, store, conversation, monkeypatch):
    monkeypatch.setattr(handoff_watch, "CHECK_SECONDS", 0.0)
    service, _ = stored_shop("One ", "two ", "three ", "four ")

    async def interrupt():
        received = []
        async with aclosing(service.stream(ask("how are you today", conversation=conversation))) as deltas:
            async for delta in deltas:
                received.append(delta)
                if delta.text == "two ":
                    store.handoffs.open(HandoffRequest(conversation, notices={"open": "One moment."}))
        return received

    received = asyncio.run(interrupt())
    assert [delta.text for delta in received] == ["One ", "two ", ""]
    assert received[-1].finish_reason == "stop"
    assert received[-1].usage == Usage(prompt_tokens=11, completion_tokens=3), "the third token was generated too"
    assert [text for _, text in texts(store, conversation)] == ["how are you today", "One moment.", "One two "]


def test_a_repeated_request_during_a_handoff_is_stored_once(stored_shop, reply, store, conversation):
    service, _ = stored_shop()
    reply(service, ask("I want to talk to a person", conversation=conversation))
    claim(store, conversation)
    for _ in range(2):
        reply(service, ask("I want to talk to a person", OPEN, "hello", conversation=conversation))
    assert [text for _, text in texts(store, conversation)].count("hello") == 1


@pytest.mark.parametrize(
    ("scenario", "fields", "param", "sentence"),
    [
        ("shpo", {}, "scenario", "did you mean 'shop'"),
        ("shop", {"knowledge": ("faq",)}, "knowledge", "There is no knowledge base 'faq'"),
        (None, {"knowledge": ("faq",)}, "knowledge", "this server has none"),
    ],
)
def test_what_cannot_be_honoured_is_refused(stored_shop, reply, scenario, fields, param, sentence):
    service, _ = stored_shop()
    request = ask("hi", scenario=scenario)
    object.__setattr__(request, "service", type(request.service)(scenario, **fields))
    with pytest.raises(InvalidParameter, match=sentence) as caught:
        reply(service, request)
    assert caught.value.param == param


def test_a_server_without_scenarios_refuses_them(stored_shop, reply):
    _, model = stored_shop()
    with pytest.raises(InvalidParameter, match="this server has no scenarios"):
        reply(model, ask("hi"))


@pytest.mark.parametrize(
    "text", ["how long is the guarantee, the warranty?", "I want a human", "Tell me about the moon"]
)
def test_the_version_that_answers_is_stored_with_every_kind_of_answer(stored_shop, store, conversation, text):
    service, _ = stored_shop("Yes.", version=AnsweringVersion("shop@3", "digest"))
    asyncio.run(collect(service.stream(ask(text, conversation=conversation))))
    answers = [entry for entry in stored(store, conversation) if entry.message.role == "assistant"]
    assert answers
    assert {(entry.meta["version"], entry.meta["weights"]) for entry in answers} == {("shop@3", "digest")}
