"""Context policies alone: whatever the conversation, what comes out fits, keeps what must stay, and invents nothing."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeGenerator
from hypothesis import given, settings
from hypothesis import strategies as st
from talks import TOOLED, assistant, system, talk, user

from turnwise.chat import context_policies as folder
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


# Rounds


def test_a_round_is_a_users_message_with_all_that_answers_it():
    messages = [system("s"), assistant("Hi!"), *TOOLED, Message("developer", "d"), assistant("c"), user("e")]
    assert split_exchanges(messages) == [(1,), (2, 3, 4, 5, 7), (8,)]
    assert droppable_exchanges(messages) == [(1,), (2, 3, 4, 5, 7)]
    assert drop_exchanges(messages, droppable_exchanges(messages)) == (
        system("s"),
        Message("developer", "d"),
        user("e"),
    )


def test_a_pin_keeps_its_whole_round_and_the_last_round_needs_none():
    messages = [user("a"), assistant("b"), user("c"), assistant("d", pinned=True), user("e"), user("f")]
    assert droppable_exchanges(messages) == [(0, 1), (4,)]
    assert droppable_exchanges([user("a"), assistant("b")]) == []


@pytest.mark.parametrize("threshold", range(6))
def test_halving_finds_the_fewest(threshold):
    async def enough(count):
        assert count < 5
        return count >= threshold

    assert asyncio.run(find_smallest(5, enough)) == threshold


# Any conversation

words = st.text("ab ", max_size=12)


@st.composite
def conversations(draw):
    """Rounds of all kinds, standing messages among them, some pinned."""
    said = draw(st.lists(st.builds(system, words), max_size=1))
    if draw(st.booleans()):
        said.append(assistant(draw(words)))
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["plain", "tools", "unanswered", "standing"]))
        if kind == "standing":
            said.append(Message(draw(st.sampled_from(["system", "developer"])), draw(words)))
        said.append(user(draw(words)))
        if kind == "tools":
            said += [replace(m, content=draw(words)) for m in TOOLED[1:]]
        elif kind != "unanswered":
            said.append(assistant(draw(words)))
    if draw(st.booleans()):
        said.append(user(draw(words)))
    return tuple(replace(message, pinned=draw(st.integers(0, 5)) == 0) for message in said)


class PlainRoom:
    """A model to which every character is a token, and every message two more. What it writes is scripted."""

    context_length, scope = 200, ""

    def __init__(self, limit, written="z", shows=True):
        self.max_prompt_tokens, self.summaries, self.written, self.asked = limit, SummaryCache(), written, []
        self._shows = shows

    async def prompt_tokens(self, messages):
        return sum(len(message.content) + 2 for message in messages)

    async def system_tokens(self, messages):
        leading = next((i for i, m in enumerate(messages) if m.role not in ("system", "developer")), len(messages))
        return await self.prompt_tokens(messages[:leading])

    async def shows_message(self, messages, index):
        return self._shows or messages[index].role == "user"

    async def text_tokens(self, text):
        return len(text) - len(summarise.SUMMARY_REQUEST) + 2

    async def write(self, text, most):
        self.asked.append(text)
        assert await self.text_tokens(text) + most <= self.context_length
        return self.written[:most], Usage(len(text), min(most, len(self.written)))


def truncate(name, messages, room):
    return asyncio.run(CONTEXT_POLICIES.load(name).truncate(messages, room))


def is_subsequence(some, messages):
    rest = iter(messages)
    return all(any(one is other for other in rest) for one in some)


@settings(max_examples=400, deadline=None)
@given(messages=conversations(), limit=st.integers(0, 120))
def test_drop_oldest_keeps_what_must_stay_and_drops_no_more_than_it_has_to(messages, limit):
    room = PlainRoom(limit)
    made = truncate("drop_oldest", messages, room)
    kept = messages if made is None else made.messages
    size = asyncio.run(room.prompt_tokens(kept))
    old = droppable_exchanges(messages)
    assert is_subsequence(kept, messages)
    assert size <= limit or kept == drop_exchanges(messages, old), "it fits, or nothing more may go"
    must = [m for i, m in enumerate(messages) if m.role in ("system", "developer") or m.pinned]
    must += [m for m in messages if m.role == "user"][-1:]
    assert all(any(one is other for other in kept) for one in must)
    answered = {call.id for message in kept for call in message.tool_calls}
    assert all(message.tool_call_id in answered for message in kept if message.role == "tool")
    if made is not None:
        assert made.report.dropped_messages == len(messages) - len(kept) > 0
        count = next(count for count in range(len(old) + 1) if drop_exchanges(messages, old[:count]) == kept)
        less = asyncio.run(room.prompt_tokens(drop_exchanges(messages, old[: count - 1])))
        assert less > limit - PlainRoom.context_length // 8, "one round less does not drop a whole step"


@settings(max_examples=300, deadline=None)
@given(messages=conversations(), limit=st.integers(0, 160))
def test_a_sliding_window_keeps_the_opening_and_the_latest_and_fits(messages, limit):
    room = PlainRoom(limit)
    whole, opening = asyncio.run(room.prompt_tokens(messages)), asyncio.run(room.system_tokens(messages))
    made = truncate("sliding_window", messages, room)
    if made is None:
        assert whole <= limit or limit < max(opening, sliding_window.SINKS) + sliding_window.MIN_LATEST
        return
    sinks, latest = made.window
    assert made.messages == messages
    assert sinks == max(opening, sliding_window.SINKS)
    assert latest >= sliding_window.MIN_LATEST
    assert limit - room.context_length // 8 < sinks + latest <= limit or sinks + latest == limit
    assert made.report.dropped_tokens == whole - sinks - latest > 0


def test_the_same_rounds_stay_dropped_while_a_chat_grows_by_a_step():
    """So that prompts begin alike for some turns, and the engine need not read them again."""
    room, counts, messages = PlainRoom(120), [], (system("Be kind."),)
    for number in range(60):
        messages += (user(f"{number:02}"),)
        made = (
            truncate("drop_oldest", messages, room)
            if asyncio.run(room.prompt_tokens(messages)) > room.max_prompt_tokens
            else None
        )
        counts.append(0 if made is None else made.report.dropped_messages)
        messages += (assistant(f"{number:02}"),)
    assert counts == sorted(counts)
    last = 10 + 59 * 8 + 4  # tokens: the system message, whole rounds, the last question
    assert len(set(counts)) - 1 == math.ceil((last - room.max_prompt_tokens) / (room.context_length // 8)), (
        "a change for every step"
    )


def test_where_no_whole_step_can_be_dropped_no_more_goes_than_has_to():
    messages = (*talk(3, "")[:-1], user("x" * 30))
    room = PlainRoom(asyncio.run(PlainRoom(0).prompt_tokens(messages)) - 1)
    room.context_length = 8000
    assert truncate("drop_oldest", messages, room).report.dropped_messages == 2


@settings(max_examples=300, deadline=None)
@given(
    messages=conversations(),
    limit=st.integers(0, 160),
    written=st.sampled_from(["", " ", "z", "z" * 25]),
    shows=st.booleans(),
)
def test_summarise_does_so_too_and_only_adds_its_note(messages, limit, written, shows):
    room = PlainRoom(limit, written, shows)
    made = truncate("summarise", messages, room)
    if made is None:
        assert asyncio.run(room.prompt_tokens(messages)) <= limit or not droppable_exchanges(messages)
        return
    assert len(room.asked) <= 1
    summary = made.report.summary
    note = summarise.NOTE.format(text=summary.text) if summary is not None and summary.text else None
    plain = list(made.messages)
    if note is not None:
        [place] = [i for i, message in enumerate(plain) if note in message.content]
        assert sum(message.content.count(note) for message in plain) == 1
        bare = plain[place].content.replace(note, "").strip("\n")
        plain[place] = replace(plain[place], content=bare)
        if len(plain) > len(messages) - made.report.dropped_messages:  # the note is a message of its own
            assert plain.pop(place) == system("")
        assert asyncio.run(room.prompt_tokens(made.messages)) <= limit
        assert 0 < summary.num_messages <= made.report.dropped_messages
    fits = asyncio.run(room.prompt_tokens(made.messages)) <= limit
    assert fits or tuple(plain) == drop_exchanges(messages, droppable_exchanges(messages))
    told = iter(messages)
    assert all(
        any(one.role == m.role and one.content.strip("\n") == m.content.strip("\n") for m in told) for one in plain
    )
    must = [m for m in messages if m.role in ("system", "developer") or m.pinned]
    assert all(any(m.role == one.role and m.pinned == one.pinned for one in plain) for m in must)
    assert made.report.dropped_messages == len(messages) - len(plain)
    assert made.report.policy == "summarise"


# The registry


def test_the_folder_is_the_registry():
    assert set(CONTEXT_POLICIES.names()) == {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {
        "__init__"
    }
    assert DEFAULT_CONTEXT_POLICY == "refuse"
    with pytest.raises(InvalidParameter, match="did you mean 'drop_oldest'"):
        CONTEXT_POLICIES.load("drop_old")


def test_a_service_with_an_unknown_policy_is_not_made(tokenizer):
    with pytest.raises(InvalidParameter, match="There is no context policy 'forget'"):
        EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), FakeGenerator(), context_policy="forget")
