"""Context policies on their own: for any conversation, the result fits and keeps the messages that must stay."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest
from dialogues import TOOL_EXCHANGE, assistant, dialogue, system, user
from fakes import FakeEngine
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.chat import context_policies
from turnwise.chat.context_policies import (
    CONTEXT_POLICIES,
    DEFAULT_CONTEXT_POLICY,
    sliding_window,
    summarise,
)
from turnwise.chat.service import EngineChatService
from turnwise.chat.summary_cache import SummaryCache
from turnwise.core.chat_response import Usage
from turnwise.core.errors import InvalidParameter
from turnwise.core.exchanges import drop_exchanges, droppable_exchanges, find_smallest, split_exchanges
from turnwise.core.messages import Message
from turnwise.text.rendering.renderer import Renderer

pytestmark = pytest.mark.timeout(60)


# Exchanges


def test_an_exchange_is_a_user_message_with_its_responses():
    messages = [system("s"), assistant("Hi!"), *TOOL_EXCHANGE, Message("developer", "d"), assistant("c"), user("e")]
    assert split_exchanges(messages) == [(1,), (2, 3, 4, 5, 7), (8,)]
    assert droppable_exchanges(messages) == [(1,), (2, 3, 4, 5, 7)]
    assert drop_exchanges(messages, droppable_exchanges(messages)) == (
        system("s"),
        Message("developer", "d"),
        user("e"),
    )


def test_pinned_exchanges_and_the_last_one_cannot_be_dropped():
    messages = [user("a"), assistant("b"), user("c"), assistant("d", pinned=True), user("e"), user("f")]
    assert droppable_exchanges(messages) == [(0, 1), (4,)]
    assert droppable_exchanges([user("a"), assistant("b")]) == []


@pytest.mark.parametrize("threshold", range(6))
def test_find_smallest_returns_the_threshold(threshold):
    async def is_enough(count):
        assert count < 5
        return count >= threshold

    assert asyncio.run(find_smallest(5, is_enough)) == threshold


# Any conversation

words = st.text("ab ", max_size=12)


@st.composite
def conversations(draw):
    """Exchanges of all kinds, with system messages between them; some messages are pinned."""
    messages = draw(st.lists(st.builds(system, words), max_size=1))
    if draw(st.booleans()):
        messages.append(assistant(draw(words)))
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["plain", "tools", "unanswered", "system"]))
        if kind == "system":
            messages.append(Message(draw(st.sampled_from(["system", "developer"])), draw(words)))
        messages.append(user(draw(words)))
        if kind == "tools":
            messages += [replace(message, content=draw(words)) for message in TOOL_EXCHANGE[1:]]
        elif kind != "unanswered":
            messages.append(assistant(draw(words)))
    if draw(st.booleans()):
        messages.append(user(draw(words)))
    return tuple(replace(message, pinned=draw(st.integers(0, 5)) == 0) for message in messages)


class CharacterBudget:
    """A context budget with one token per character and two per message. Its summaries are scripted."""

    context_length, scope = 200, ""

    def __init__(self, limit, summary="z", shows_system=True):
        self.max_prompt_tokens, self.summaries, self.summary_text, self.prompts = limit, SummaryCache(), summary, []
        self._shows_system = shows_system

    async def prompt_tokens(self, messages):
        return sum(len(message.content) + 2 for message in messages)

    async def system_tokens(self, messages):
        leading = next(
            (i for i, message in enumerate(messages) if message.role not in ("system", "developer")), len(messages)
        )
        return await self.prompt_tokens(messages[:leading])

    async def shows_message(self, messages, index):
        return self._shows_system or messages[index].role == "user"

    async def text_tokens(self, text):
        return len(text) - len(summarise.SUMMARY_REQUEST) + 2

    async def write(self, text, max_tokens):
        self.prompts.append(text)
        assert await self.text_tokens(text) + max_tokens <= self.context_length
        return self.summary_text[:max_tokens], Usage(len(text), min(max_tokens, len(self.summary_text)))


def truncate(name, messages, budget):
    return asyncio.run(CONTEXT_POLICIES.load(name).truncate(messages, budget))


def is_subsequence(remaining, messages):
    iterator = iter(messages)
    return all(any(message is original for original in iterator) for message in remaining)


@settings(max_examples=400, deadline=None)
@given(messages=conversations(), limit=st.integers(0, 120))
def test_drop_oldest_keeps_undroppable_messages_and_drops_as_few_as_necessary(messages, limit):
    budget = CharacterBudget(limit)
    truncated = truncate("drop_oldest", messages, budget)
    remaining = messages if truncated is None else truncated.messages
    size = asyncio.run(budget.prompt_tokens(remaining))
    droppable = droppable_exchanges(messages)  # in order of age
    assert is_subsequence(remaining, messages)
    assert size <= limit or remaining == drop_exchanges(messages, droppable), "it fits, or nothing more can be dropped"
    required = [message for message in messages if message.role in ("system", "developer") or message.pinned]
    required += [message for message in messages if message.role == "user"][-1:]
    assert all(any(message is entry for entry in remaining) for message in required)
    call_ids = {call.id for message in remaining for call in message.tool_calls}
    assert all(message.tool_call_id in call_ids for message in remaining if message.role == "tool")
    if truncated is not None:
        assert truncated.report.dropped_messages == len(messages) - len(remaining) > 0
        count = next(
            count for count in range(len(droppable) + 1) if drop_exchanges(messages, droppable[:count]) == remaining
        )
        tokens = asyncio.run(budget.prompt_tokens(drop_exchanges(messages, droppable[: count - 1])))
        assert tokens > limit - CharacterBudget.context_length // 8, "one exchange less is less than a step"


@settings(max_examples=300, deadline=None)
@given(messages=conversations(), limit=st.integers(0, 160))
def test_a_sliding_window_keeps_system_messages_and_the_latest_tokens(messages, limit):
    budget = CharacterBudget(limit)
    prompt_tokens, system_tokens = (
        asyncio.run(budget.prompt_tokens(messages)),
        asyncio.run(budget.system_tokens(messages)),
    )
    truncated = truncate("sliding_window", messages, budget)
    if truncated is None:
        assert prompt_tokens <= limit or limit < max(system_tokens, sliding_window.SINKS) + sliding_window.MIN_LATEST
        return
    sinks, latest = truncated.window
    assert truncated.messages == messages
    assert sinks == max(system_tokens, sliding_window.SINKS)
    assert latest >= sliding_window.MIN_LATEST
    assert limit - budget.context_length // 8 < sinks + latest <= limit or sinks + latest == limit
    assert truncated.report.dropped_tokens == prompt_tokens - sinks - latest > 0


def test_the_same_exchanges_stay_dropped_while_a_conversation_grows_by_a_step():
    """Prompts then share a prefix over several requests, and the prefix cache is used."""
    budget, counts, messages = CharacterBudget(120), [], (system("Be kind."),)
    for number in range(60):
        messages += (user(f"{number:02}"),)
        truncated = (
            truncate("drop_oldest", messages, budget)
            if asyncio.run(budget.prompt_tokens(messages)) > budget.max_prompt_tokens
            else None
        )
        counts.append(0 if truncated is None else truncated.report.dropped_messages)
        messages += (assistant(f"{number:02}"),)
    assert counts == sorted(counts)
    last = 10 + 59 * 8 + 4  # tokens: the system message, complete exchanges, the last question
    assert len(set(counts)) - 1 == math.ceil((last - budget.max_prompt_tokens) / (budget.context_length // 8)), (
        "one change per step"
    )


def test_if_no_complete_step_can_be_dropped_only_necessary_exchanges_are():
    messages = (*dialogue(3, "")[:-1], user("x" * 30))
    budget = CharacterBudget(asyncio.run(CharacterBudget(0).prompt_tokens(messages)) - 1)
    budget.context_length = 8000
    assert truncate("drop_oldest", messages, budget).report.dropped_messages == 2


@settings(max_examples=300, deadline=None)
@given(
    messages=conversations(),
    limit=st.integers(0, 160),
    summary_text=st.sampled_from(["", " ", "z", "z" * 25]),
    shows_system=st.booleans(),
)
def test_summarise_keeps_undroppable_messages_and_adds_only_its_note(messages, limit, summary_text, shows_system):
    budget = CharacterBudget(limit, summary_text, shows_system)
    truncated = truncate("summarise", messages, budget)
    if truncated is None:
        assert asyncio.run(budget.prompt_tokens(messages)) <= limit or not droppable_exchanges(messages)
        return
    assert len(budget.prompts) <= 1
    summary = truncated.report.summary
    note = summarise.NOTE.format(text=summary.text) if summary is not None and summary.text else None
    plain = list(truncated.messages)
    if note is not None:
        [index] = [i for i, message in enumerate(plain) if note in message.content]
        assert sum(message.content.count(note) for message in plain) == 1
        content = plain[index].content.replace(note, "").strip("\n")
        plain[index] = replace(plain[index], content=content)
        if len(plain) > len(messages) - truncated.report.dropped_messages:  # the note is a message of its own
            assert plain.pop(index) == system("")
        assert asyncio.run(budget.prompt_tokens(truncated.messages)) <= limit
        assert 0 < summary.num_messages <= truncated.report.dropped_messages
    fits = asyncio.run(budget.prompt_tokens(truncated.messages)) <= limit
    assert fits or tuple(plain) == drop_exchanges(messages, droppable_exchanges(messages))
    originals = iter(messages)
    assert all(
        any(
            message.role == original.role and message.content.strip("\n") == original.content.strip("\n")
            for original in originals
        )
        for message in plain
    )
    required = [message for message in messages if message.role in ("system", "developer") or message.pinned]
    assert all(
        any(message.role == entry.role and message.pinned == entry.pinned for entry in plain) for message in required
    )
    assert truncated.report.dropped_messages == len(messages) - len(plain)
    assert truncated.report.policy == "summarise"


# The registry


def test_every_module_in_the_folder_is_a_policy():
    assert set(CONTEXT_POLICIES.names()) == {
        path.stem for path in Path(context_policies.__file__).parent.glob("*.py")
    } - {"__init__"}
    assert DEFAULT_CONTEXT_POLICY == "refuse"
    with pytest.raises(InvalidParameter, match="did you mean 'drop_oldest'"):
        CONTEXT_POLICIES.load("drop_old")


def test_a_service_with_an_unknown_policy_is_rejected(tokenizer):
    with pytest.raises(InvalidParameter, match="There is no context policy 'forget'"):
        EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), FakeEngine(), context_policy="forget")
