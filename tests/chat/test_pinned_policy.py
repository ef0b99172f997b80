"""The context policy `pinned`: facts of the user and old turns stay in front of the question, and nothing else does."""

import asyncio

import pytest
from dialogues import ScriptedEngine, assistant, dialogue, system, user
from fakes import answer_events, reply, stream
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.chat.context_policies import pinned
from turnwise.chat.service import EngineChatService
from turnwise.chat.summary_cache import SummaryCache
from turnwise.chat.user_facts import extract_facts
from turnwise.core.chat_request import ChatRequest, ContextOptions
from turnwise.core.exchanges import drop_exchanges, droppable_exchanges
from turnwise.core.messages import Message
from turnwise.core.scheduling_options import SchedulingOptions
from turnwise.store import open_store
from turnwise.text.rendering.renderer import Renderer

pytestmark = pytest.mark.timeout(60)
NOTE_START = pinned.NOTE.partition("\n")[0]


# Facts


def facts(*contents):
    return [fact.text for fact in extract_facts([Message("user", content) for content in contents])]


@pytest.mark.parametrize(
    "sentence",
    [
        "My name is Ann.",
        "Hello, my name's Ann.",
        "I live in Oslo.",
        "I'm allergic to nuts.",
        "I am learning to swim.",
        "Please call me Bob.",
        "I don't like tea, but I love coffee.",
        "The order is 48213.",
        "It costs 3.50 € a day.",
        "Please come on Friday.",
        "We leave on 3 March.",
        "Write to ann@example.org.",
        "Remember that the door is open.",
        "我叫小明。",
        "我喜欢喝茶。",
    ],
)
def test_a_sentence_about_the_user_is_a_fact(sentence):
    assert facts(f"Good morning! {sentence} Thanks") == [sentence]


@pytest.mark.parametrize("sentence", ["How are you?", "Tell me a joke.", "What is my name?", "Do you like tea?", ""])
def test_any_other_sentence_is_none(sentence):
    assert facts(sentence) == []


def test_a_later_fact_about_the_same_subject_replaces_the_earlier_one():
    assert facts("My name is Ann.", "I live in Oslo.", "Sorry, my name is Anna.") == [
        "I live in Oslo.",
        "Sorry, my name is Anna.",
    ]


def test_only_the_user_states_facts():
    assert extract_facts([assistant("My name is Bot."), system("My name is Bot.")]) == []


def test_a_decimal_point_ends_no_sentence():
    assert facts("I have 3.5 litres. Thanks") == ["I have 3.5 litres."]


@given(st.text(max_size=300))
@settings(max_examples=100)
def test_facts_are_short_lines_for_any_text(text):
    for fact in facts(text):
        assert fact
        assert "\n" not in fact
        assert len(fact) <= 200


# The policy


class CharacterBudget:
    """A context budget with one token per character and two per message."""

    context_length, scope = 2000, ""

    def __init__(self, limit):
        self.max_prompt_tokens, self.summaries = limit, SummaryCache()

    async def prompt_tokens(self, messages):
        return sum(len(message.content) + 2 for message in messages)

    async def text_tokens(self, text):
        return len(text) // 4


def truncate(messages, limit):
    return asyncio.run(pinned.truncate(tuple(messages), CharacterBudget(limit)))


TALK = (
    user("My name is Ann."),
    assistant("Hello Ann."),
    *(m for i in range(30) for m in (user(f"Is lamp {i} on?"), assistant(f"Lamp {i} is on."))),
)


def test_a_fact_of_a_dropped_turn_stands_before_the_question():
    truncated = truncate([system("Be kind."), *TALK, user("Do you know my name?")], 600)
    assert truncated.report.dropped_messages > 0
    assert all(message.content != "My name is Ann." for message in truncated.messages)
    last = truncated.messages[-1].content
    assert last.startswith(NOTE_START)
    assert "- The user said: My name is Ann.\n" in last
    assert last.endswith("\n\nDo you know my name?")


def test_a_dropped_turn_that_the_question_is_about_comes_back():
    talk = [user("Where is the key?"), assistant("The key is under the mat."), *TALK]
    truncated = truncate([*talk, user("Where was the key again?")], 600)
    assert "user: Where is the key? / assistant: The key is under the mat." in truncated.messages[-1].content


def test_an_old_fact_is_repeated_in_a_conversation_that_fits_if_the_question_is_about_it():
    truncated = truncate([*TALK, user("Do you know my name?")], 100_000)
    assert truncated.report.dropped_messages == 0
    assert truncated.report.recalled == 1
    assert truncated.messages[:-1] == TALK


@pytest.mark.parametrize("question", ["Is lamp 7 on?", "Thanks!"])
def test_nothing_is_added_to_any_other_question_that_fits(question):
    assert truncate([*TALK, user(question)], 100_000) is None


def test_a_recent_fact_is_not_repeated():
    assert truncate([*TALK[2:], *TALK[:2], user("Do you know my name?")], 100_000) is None


def test_the_note_is_the_same_for_the_same_conversation():
    messages = [*TALK, user("Do you know my name?")]
    assert truncate(messages, 600) == truncate(messages, 600)


@st.composite
def conversations(draw):
    contents = st.text("ab my name is 5 .\n", max_size=25)
    messages = [system(draw(contents))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 8))):
        messages += [user(draw(contents), pinned=draw(st.booleans())), assistant(draw(contents))]
    return (*messages, user(draw(contents)))


@given(messages=conversations(), limit=st.integers(0, 600))
@settings(max_examples=150, deadline=None)
def test_undroppable_messages_stay_and_the_result_fits_if_it_can(messages, limit):
    truncated = truncate(messages, limit)
    remaining = messages if truncated is None else truncated.messages
    smallest = asyncio.run(
        CharacterBudget(limit).prompt_tokens(drop_exchanges(messages, droppable_exchanges(messages)))
    )
    assert asyncio.run(CharacterBudget(limit).prompt_tokens(remaining)) <= max(limit, smallest)
    required = [message for message in messages[:-1] if message.role == "system" or message.pinned]
    assert all(any(message is entry for entry in remaining) for message in required)
    assert remaining[-1].content.endswith(messages[-1].content)


# In the service


@pytest.fixture
def service(tokenizer):
    """Two tenants use one service with one store."""
    store = open_store("sqlite:///:memory:")
    engine = ScriptedEngine(answer_events(tokenizer.encode("Yes.")), context_length=1600)
    renderer = Renderer.from_tokenizer(tokenizer)
    yield EngineChatService("tiny", 0, "fp", renderer, engine, store=store, context_policy="pinned")
    store.close()


def prompt(service):
    return service.renderer.tokenizer.decode(service.engine.requests[-1].prompt_ids)


def test_the_prompt_fits_and_contains_the_note(service):
    messages = (user("My name is Ann."), assistant("Hello."), *dialogue(40)[1:-1], user("Do you know my name?"))
    reply(service, ChatRequest(messages))
    assert "The user said: My name is Ann." in prompt(service)
    assert len(service.engine.requests[-1].prompt_ids) <= 1200


def test_a_fact_never_reaches_another_tenant_or_another_conversation(service):
    secret = (user("My name is Ann and my code is 48213."), assistant("Hello."))
    filler = dialogue(40)[1:-1]
    question = user("Do you know my name and my code?")
    for tenant, first in (("ann", secret), ("ben", ()), ("ann", ())):
        conversation = service.store.create(title="", model="tiny").id
        request = ChatRequest(
            (*first, *filler, question),
            conversation_id=conversation,
            scheduling=SchedulingOptions(tenant=tenant),
            context=ContextOptions(policy="pinned"),
        )
        reply(service, request)
        assert ("48213" in prompt(service)) == bool(first)


def test_pinned_summary_has_a_summary_too_and_reports_both(tokenizer):
    engine = ScriptedEngine(*(answer_events(tokenizer.encode(text)) for text in ("About lamps.", "Yes.")))
    engine.context_length = 1600
    service = EngineChatService(
        "tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), engine, context_policy="pinned_summary"
    )
    messages = (user("My name is Ann."), assistant("Hello."), *dialogue(40)[1:-1], user("Do you know my name?"))
    deltas = stream(service, ChatRequest(messages))
    report = deltas[-1].context
    assert (report.policy, report.summary.text) == ("pinned_summary", "About lamps.")
    assert report.recalled >= 1
    assert "About lamps." in prompt(service)
    assert "The user said: My name is Ann." in prompt(service)
    assert len(engine.requests[-1].prompt_ids) <= 1200


def test_a_conversation_that_fits_gets_no_summary(tokenizer):
    engine = ScriptedEngine(answer_events(tokenizer.encode("Yes.")), context_length=4000)
    service = EngineChatService(
        "tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), engine, context_policy="pinned_summary"
    )
    reply(service, ChatRequest((*TALK, user("Do you know my name?"))))
    assert len(engine.requests) == 1
    assert "The user said: My name is Ann." in prompt(service)
