"""Context policies: whatever the conversation, what comes out fits, keeps what must stay, and invents nothing."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeGenerator, reply, saying, stream, text
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.chat import context as folder
from turnwise.chat.context import DEFAULT, policies, policy, sliding_window, summarise
from turnwise.chat.rounds import droppable, fewest, rounds, without
from turnwise.chat.service import ChatService, Turn
from turnwise.chat.summaries import Summaries, keys
from turnwise.chat.turn import Summary, Usage
from turnwise.core.errors import ContextTooLong, InvalidParameter, TurnwiseError, Unavailable
from turnwise.core.messages import Message, ToolCall
from turnwise.core.tools import Tool
from turnwise.engine.engine import Engine
from turnwise.models.checkpoint import create
from turnwise.store import open_store
from turnwise.text.render import Renderer

pytestmark = pytest.mark.timeout(60)


def system(said):
    return Message("system", said)


def user(said, **more):
    return Message("user", said, **more)


def assistant(said, **more):
    return Message("assistant", said, **more)


def talk(turns, said="The lamp in the kitchen is broken again."):
    """A system message, some rounds and a last question."""
    middle = [m for i in range(turns) for m in (user(f"Question {i}: {said}"), assistant(f"Answer {i}: {said}"))]
    return (system("Be kind."), *middle, user("And now?"))


# Rounds

CALL = ToolCall("call_1", "look", "{}")
TOOLED = [user("a"), assistant("", tool_calls=(CALL,)), Message("tool", "r", tool_call_id="call_1"), assistant("b")]


def test_a_round_is_a_users_message_with_all_that_answers_it():
    messages = [system("s"), assistant("Hi!"), *TOOLED, Message("developer", "d"), assistant("c"), user("e")]
    assert rounds(messages) == [(1,), (2, 3, 4, 5, 7), (8,)]
    assert droppable(messages) == [(1,), (2, 3, 4, 5, 7)]
    assert without(messages, droppable(messages)) == (system("s"), Message("developer", "d"), user("e"))


def test_a_pin_keeps_its_whole_round_and_the_last_round_needs_none():
    messages = [user("a"), assistant("b"), user("c"), assistant("d", pinned=True), user("e"), user("f")]
    assert droppable(messages) == [(0, 1), (4,)]
    assert droppable([user("a"), assistant("b")]) == []


@pytest.mark.parametrize("threshold", range(6))
def test_halving_finds_the_fewest(threshold):
    async def enough(count):
        assert count < 5
        return count >= threshold

    assert asyncio.run(fewest(5, enough)) == threshold


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
        self.limit, self.summaries, self.written, self.asked = limit, Summaries(), written, []
        self._shows = shows

    async def tokens(self, messages):
        return sum(len(message.content) + 2 for message in messages)

    async def opening(self, messages):
        leading = next((i for i, m in enumerate(messages) if m.role not in ("system", "developer")), len(messages))
        return await self.tokens(messages[:leading])

    async def shows(self, messages, index):
        return self._shows or messages[index].role == "user"

    async def asking(self, text):
        return len(text) - len(summarise.ASKED) + 2

    async def write(self, text, most):
        self.asked.append(text)
        assert await self.asking(text) + most <= self.context_length
        return self.written[:most], Usage(len(text), min(most, len(self.written)))


def shorten(name, messages, room):
    return asyncio.run(policy(name).shorten(messages, room))


def is_subsequence(some, messages):
    rest = iter(messages)
    return all(any(one is other for other in rest) for one in some)


@settings(max_examples=400, deadline=None)
@given(messages=conversations(), limit=st.integers(0, 120))
def test_drop_oldest_keeps_what_must_stay_and_drops_no_more_than_it_has_to(messages, limit):
    room = PlainRoom(limit)
    made = shorten("drop_oldest", messages, room)
    kept = messages if made is None else made.messages
    size = asyncio.run(room.tokens(kept))
    old = droppable(messages)
    assert is_subsequence(kept, messages)
    assert size <= limit or kept == without(messages, old), "it fits, or nothing more may go"
    must = [m for i, m in enumerate(messages) if m.role in ("system", "developer") or m.pinned]
    must += [m for m in messages if m.role == "user"][-1:]
    assert all(any(one is other for other in kept) for one in must)
    answered = {call.id for message in kept for call in message.tool_calls}
    assert all(message.tool_call_id in answered for message in kept if message.role == "tool")
    if made is not None:
        assert made.report.dropped_messages == len(messages) - len(kept) > 0
        count = next(count for count in range(len(old) + 1) if without(messages, old[:count]) == kept)
        less = asyncio.run(room.tokens(without(messages, old[: count - 1])))
        assert less > limit - PlainRoom.context_length // 8, "one round less does not drop a whole step"


@settings(max_examples=300, deadline=None)
@given(messages=conversations(), limit=st.integers(0, 160))
def test_a_sliding_window_keeps_the_opening_and_the_latest_and_fits(messages, limit):
    room = PlainRoom(limit)
    whole, opening = asyncio.run(room.tokens(messages)), asyncio.run(room.opening(messages))
    made = shorten("sliding_window", messages, room)
    if made is None:
        assert whole <= limit or limit < max(opening, sliding_window.SINKS) + sliding_window.LEAST
        return
    sinks, latest = made.window
    assert made.messages == messages
    assert sinks == max(opening, sliding_window.SINKS)
    assert latest >= sliding_window.LEAST
    assert limit - room.context_length // 8 < sinks + latest <= limit or sinks + latest == limit
    assert made.report.dropped_tokens == whole - sinks - latest > 0


def test_the_same_rounds_stay_dropped_while_a_chat_grows_by_a_step():
    """So that prompts begin alike for some turns, and the engine need not read them again."""
    room, counts, messages = PlainRoom(120), [], (system("Be kind."),)
    for number in range(60):
        messages += (user(f"{number:02}"),)
        made = shorten("drop_oldest", messages, room) if asyncio.run(room.tokens(messages)) > room.limit else None
        counts.append(0 if made is None else made.report.dropped_messages)
        messages += (assistant(f"{number:02}"),)
    assert counts == sorted(counts)
    last = 10 + 59 * 8 + 4  # tokens: the system message, whole rounds, the last question
    assert len(set(counts)) - 1 == math.ceil((last - room.limit) / (room.context_length // 8)), (
        "a change for every step"
    )


def test_where_no_whole_step_can_be_dropped_no_more_goes_than_has_to():
    messages = (*talk(3, "")[:-1], user("x" * 30))
    room = PlainRoom(asyncio.run(PlainRoom(0).tokens(messages)) - 1)
    room.context_length = 8000
    assert shorten("drop_oldest", messages, room).report.dropped_messages == 2


@settings(max_examples=300, deadline=None)
@given(
    messages=conversations(),
    limit=st.integers(0, 160),
    written=st.sampled_from(["", " ", "z", "z" * 25]),
    shows=st.booleans(),
)
def test_summarise_does_so_too_and_only_adds_its_note(messages, limit, written, shows):
    room = PlainRoom(limit, written, shows)
    made = shorten("summarise", messages, room)
    if made is None:
        assert asyncio.run(room.tokens(messages)) <= limit or not droppable(messages)
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
        if plain[place] == system("") and plain[place] not in messages:
            del plain[place]
        assert asyncio.run(room.tokens(made.messages)) <= limit
        assert 0 < summary.messages <= made.report.dropped_messages
    fits = asyncio.run(room.tokens(made.messages)) <= limit
    assert fits or tuple(plain) == without(messages, droppable(messages))
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
    assert policies().keys() == {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    assert DEFAULT == "refuse"
    with pytest.raises(InvalidParameter, match="did you mean 'drop_oldest'"):
        policy("drop_old")


def test_a_service_with_an_unknown_policy_is_not_made(tokenizer):
    with pytest.raises(InvalidParameter, match="Unknown context policy"):
        ChatService("tiny", 0, "fp", Renderer.of(tokenizer), FakeGenerator(), context_policy="forget")


# In a turn, with a real tokenizer


class Answers(FakeGenerator):
    """Gives one scripted answer after the other."""

    def __init__(self, *answers, context_length=200):
        super().__init__(context_length=context_length)
        self.answers = list(answers)

    def submit(self, request, on_event):
        self.events = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return super().submit(request, on_event)


@pytest.fixture
def says(tokenizer):
    """`says(*answers)`: a service that gives these answers, the last one again and again."""

    def says(*answers, context_length=200, template=None, **more):
        renderer = Renderer.of(tokenizer) if template is None else Renderer(tokenizer, template)
        events = [saying(tokenizer.encode(answer)) for answer in answers]
        return ChatService("tiny", 0, "fp", renderer, Answers(*events, context_length=context_length), **more)

    return says


def read(service, at=-1):
    """What the model read."""
    return service.renderer.tokenizer.decode(service.generator.requests[at].prompt_ids, skip_special=False)


def test_what_fits_is_left_alone(says):
    for name in policies():
        service = says("Yes.", context_policy=name)
        answer = reply(service, Turn(talk(1), {"max_tokens": 5}))
        assert answer.context is None
        assert "Question 0" in read(service)


def test_refuse_is_the_default_and_refuses(says):
    with pytest.raises(ContextTooLong, match=r"holds 200 tokens, but 'messages' takes \d\d\d+"):
        reply(says("Yes."), Turn(talk(20)))


def test_the_oldest_rounds_go_and_it_is_told_with_the_last_piece(says):
    service = says("Yes.", context_policy="drop_oldest")
    *before, last = stream(service, Turn(talk(20)))
    assert all(delta.context is None for delta in before)
    assert last.context.policy == "drop_oldest"
    dropped = last.context.dropped_messages
    assert dropped % 2 == 0
    assert last.context.told == f"{dropped} older messages were left out"
    seen = read(service)
    assert "Be kind." in seen
    assert "And now?" in seen
    assert f"Question {dropped // 2 - 1}:" not in seen
    assert f"Question {dropped // 2}:" in seen
    assert last.usage == Usage(len(service.generator.requests[0].prompt_ids), last.usage.completion_tokens)
    assert reply(service, Turn(talk(20))).context == last.context


@pytest.mark.parametrize(("asked", "defaults", "free"), [
    ({}, {}, 50), ({"max_tokens": 7}, {}, 7), ({"max_tokens": 90}, {}, 90), ({}, {"max_tokens": 20}, 20),
    ({}, {"max_tokens": 1000}, 50), ({"max_tokens": 30}, {"max_tokens": 9}, 30),
])  # fmt: skip
def test_the_answer_has_the_room_it_asks_for_or_a_quarter_of_the_context(says, asked, defaults, free):
    service = says("Yes.", context_policy="drop_oldest", defaults=defaults)
    reply(service, Turn(talk(20), asked))
    length = len(service.generator.requests[0].prompt_ids)
    assert 200 - free - 25 - 60 < length <= 200 - free, "and no more is dropped than one step and one round too many"


def test_a_turn_may_ask_for_another_policy(says):
    with pytest.raises(ContextTooLong):
        reply(says("Yes.", context_policy="drop_oldest"), Turn(talk(20), context_policy="refuse"))
    assert reply(says("Yes."), Turn(talk(20), context_policy="drop_oldest")).context.policy == "drop_oldest"
    with pytest.raises(InvalidParameter):
        reply(says("Yes."), Turn(talk(1), context_policy="forget"))


@pytest.mark.parametrize("name", sorted(policies().keys() - {"sliding_window"}))
def test_what_may_not_be_dropped_is_refused_as_it_came(says, name):
    long = "lamp " * 300
    for messages in [
        (system(long), *talk(3)[1:]),
        (*talk(3), assistant("Well"), user(long)),
        (user(long, pinned=True), assistant("Yes"), user("And now?")),
    ]:
        service = says("Yes.", context_policy=name)
        whole = len(service.prompt_ids(Turn(messages)))
        with pytest.raises(ContextTooLong, match=f"takes {whole}"):
            reply(service, Turn(messages))
        assert service.generator.requests == [], "nothing was read or written for it"


def test_a_window_takes_a_long_message_too_but_no_long_opening(says):
    long = "lamp " * 300
    service = says("Yes.", context_policy="sliding_window")
    answer = reply(service, Turn((*talk(3), assistant("Well"), user(long + "the end"))))
    seen, read_ids = read(service), service.generator.requests[-1].prompt_ids
    assert "Be kind." in seen
    assert "the end" in seen
    assert answer.context.dropped_messages == 0
    assert answer.context.told == f"{answer.context.dropped_tokens} older tokens were left out"
    whole = service.prompt_ids(Turn((*talk(3), assistant("Well"), user(long + "the end"))))
    assert len(read_ids) == len(whole) - answer.context.dropped_tokens <= 150
    with pytest.raises(ContextTooLong):
        reply(service, Turn((system(long), *talk(3)[1:])))


def test_where_the_wish_cannot_be_met_what_fits_at_all_is_answered(says):
    """Without a limit that was asked for, one token of room is enough, as it always was."""
    messages = (*talk(2)[:-1], user("lamp " * 55))
    service = says("Yes.", context_length=150, context_policy="drop_oldest")
    answer = reply(service, Turn(messages))
    assert answer.context.dropped_messages == 4
    assert 150 - 150 // 4 < answer.usage.prompt_tokens < 150


def test_pins_stay(says):
    messages = list(talk(20))
    messages[3] = replace(messages[3], pinned=True)
    service = says("Yes.", context_policy="drop_oldest")
    reply(service, Turn(tuple(messages)))
    seen = read(service)
    assert "Question 0" not in seen
    assert "Question 1:" in seen
    assert "Answer 1:" in seen
    assert "Question 2:" not in seen


ALTERNATING = """\
{%- for message in messages -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('Roles must take turns.') }}
{%- endif -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"""


def test_a_template_that_insists_on_turns_accepts_what_is_left(says):
    messages = list(talk(20)[1:])
    messages[5] = replace(messages[5], pinned=True)
    service = says("Yes.", context_policy="drop_oldest", template=ALTERNATING)
    assert reply(service, Turn(tuple(messages))).context.dropped_messages > 10


def test_tool_calls_go_with_their_results(says):
    rounds = [replace(m, content=m.content and "lamp " * 9, tool_calls=m.tool_calls) for _ in range(6) for m in TOOLED]
    tool = Tool("look", published={"type": "function", "function": {"name": "look"}})
    service = says("Yes.", context_policy="drop_oldest", context_length=800)
    answer = reply(service, Turn((*rounds, user("And now?")), {"max_tokens": 30}, tools=(tool,)))
    assert answer.context.dropped_messages % 4 == 0
    assert 0 < answer.context.dropped_messages < 24


def test_a_message_that_is_continued_is_the_last_one(says):
    service = says(" again.", context_policy="drop_oldest")
    answer = reply(service, Turn((*talk(20), assistant("The lamp")), continue_final=True))
    assert answer.context.dropped_messages > 0
    assert read(service).endswith("And now?<|end|><|assistant|>The lamp")


def test_the_stored_conversation_is_the_whole_one(says):
    for name in ("drop_oldest", "summarise"):
        store = open_store("sqlite:///:memory:")
        id = store.create(title="", model="tiny").id
        reply(says("Yes.", store=store, context_policy=name), Turn(talk(20), conversation_id=id))
        assert [kept.message for kept in store.get(id).messages] == [*talk(20), assistant("Yes.")]
        store.close()


# Summaries

LONG = 600


def test_a_summary_stands_for_the_oldest_rounds(says):
    service = says("It is about lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, Turn(talk(20)))
    assert answer.text == "Yes."
    summary = answer.context.summary
    assert summary.text == "It is about lamps."
    assert 0 < summary.messages <= answer.context.dropped_messages
    assert answer.context.told.endswith("older messages were summarised")
    asked, seen = read(service, 0), read(service, 1)
    assert "Write nothing but the summary." in asked
    last = answer.context.dropped_messages // 2 - 1
    assert f"user: Question {last}:" in asked
    assert seen.startswith("<|system|>Be kind.\n\nSummary of the earlier conversation")
    assert "It is about lamps.<|end|>" in seen
    assert f"Question {last}:" not in seen
    assert f"Question {last + 1}:" in seen


def test_the_summary_is_greedy_and_bounded_whatever_the_turn_asks_for(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, Turn(talk(20), {"temperature": 2.0, "stop": ["a"], "logprobs": True, "min_tokens": 3}))
    own, turns = service.generator.requests
    assert own.params.temperature == 0
    assert (own.params.stop, own.params.logprobs, own.constraints) == ((), False, ())
    assert own.max_tokens == LONG // 8
    assert len(own.prompt_ids) + own.max_tokens <= LONG
    assert turns.params.temperature == 2.0


def test_usage_counts_all_that_was_read_and_written_and_says_what_the_summary_took(says):
    service = says("It is about lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, Turn(talk(20)))
    own, turns = (len(request.prompt_ids) for request in service.generator.requests)
    written = [len(service.tokens.of_text(said)) for said in ("It is about lamps.", "Yes.")]
    assert answer.usage == Usage(own + turns, sum(written))
    assert answer.context.summary.usage == Usage(own, written[0])


def test_later_turns_find_the_summary_and_it_grows_from_there(says):
    service = says("First.", "Yes.", context_length=LONG, context_policy="summarise")
    first = reply(service, Turn(talk(20)))
    again = reply(service, Turn((*talk(20), assistant("Yes."), user("And then?"))))
    assert len(service.generator.requests) == 3, "no second summary"
    assert again.context.dropped_messages == first.context.dropped_messages
    assert again.context.summary == replace(first.context.summary, usage=Usage(0, 0))
    assert again.usage.prompt_tokens == len(service.generator.requests[-1].prompt_ids)

    service.generator.answers = [saying(service.tokens.of_text("Second.")), service.generator.answers[-1]]
    much = reply(service, Turn(talk(40)))
    assert much.context.summary.text == "Second."
    assert much.context.dropped_messages > first.context.dropped_messages
    asked = read(service, 3)
    assert "Summary of what came before: First." in asked
    assert "Question 0:" not in asked, "what the first summary told of is not read again"
    assert much.context.summary.messages >= first.context.summary.messages


def test_a_conversation_that_was_changed_is_summarised_anew(says):
    service = says("First.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, Turn(talk(20)))
    reply(service, Turn((talk(20)[0], user("Something else"), *talk(20)[2:])))
    assert len(service.generator.requests) == 4


def test_an_empty_summary_is_none_and_what_it_took_is_counted(says):
    service = says(" ", "Yes.", context_length=LONG, context_policy="summarise")
    answer = reply(service, Turn(talk(20)))
    assert (answer.context.summary.text, answer.context.summary.messages) == ("", 0)
    assert answer.context.told.endswith("left out")
    assert answer.usage.prompt_tokens == sum(len(request.prompt_ids) for request in service.generator.requests)
    assert "Summary" not in read(service, 1)


def test_without_a_system_message_the_summary_brings_one(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    reply(service, Turn(talk(20)[1:]))
    assert read(service, 1).startswith("<|system|>Summary of the earlier conversation")


IGNORING = "{%- for message in messages if message['role'] != 'system' -%}{{ message['content'] }}<|end|>{%- endfor -%}"


@pytest.mark.parametrize("template", [ALTERNATING, IGNORING])
def test_where_the_template_shows_no_system_message_the_summary_goes_to_the_first_users(says, template):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise", template=template)
    answer = reply(service, Turn(talk(20)[1:]))
    place = answer.context.dropped_messages // 2
    assert f"instructions): Lamps.\n\nQuestion {place}:" in read(service, 1)


THINKING = "{%- if enable_thinking is not defined or enable_thinking -%}<think>{%- endif -%}" + IGNORING


def test_a_model_that_can_think_aloud_is_not_to_do_it_in_a_summary(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise", template=THINKING)
    reply(service, Turn(talk(20)[1:]))
    assert "<think>" not in read(service, 0)
    assert "<think>" in read(service, 1)


def test_a_failure_while_summarising_is_a_failure(says, tokenizer):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.generator.answers = [saying(tokenizer.encode("Lamps"), "error", "It melted.")]
    with pytest.raises(TurnwiseError, match="It melted"):
        reply(service, Turn(talk(20)))


def test_a_summary_that_the_engine_gave_up_is_no_summary(says, tokenizer):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.generator.answers = [saying(tokenizer.encode("Lamps"), "cancelled")]
    with pytest.raises(Unavailable):
        reply(service, Turn(talk(20)))
    assert len(service.generator.requests) == 1


def test_leaving_while_a_summary_is_written_frees_its_slot(says):
    service = says("x", context_length=LONG, context_policy="summarise")
    service.generator.answers = [[]]  # it never ends
    submit = service.generator.submit

    async def leave():
        began = asyncio.Event()
        service.generator.submit = lambda *said: began.set() or submit(*said)
        task = asyncio.create_task(service.reply(Turn(talk(20))))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert [ticket.cancelled > 0 for ticket in service.generator.tickets] == [True]


def test_the_latest_used_summaries_are_kept():
    kept = Summaries(most=2)
    for key in (b"a", b"b"):
        kept.keep(key, Summary(key.decode(), 1, Usage(0, 0)))
    assert kept.find(b"a")
    kept.keep(b"c", Summary("c", 1, Usage(0, 0)))
    assert [kept.find(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_keys_are_of_what_is_said_in_the_rounds_and_of_the_scope():
    def named(messages, scope=""):
        return [*keys(messages, droppable(messages), scope)]

    one, other = talk(3), (system("Be rude."), *talk(3)[1:-1], user("Well?"))
    assert named(one) == named(other)
    assert len(set(named(one))) == 3
    assert not {*named(one)} & {*named((one[0], user("Question 0?"), *one[2:]))}
    assert not {*named(one)} & {*named(one, "ada\n")}


def test_nobody_finds_the_summary_of_somebody_else(says):
    service = says("Lamps.", "Yes.", context_length=LONG, context_policy="summarise")
    for tenant in ("ada", "bob"):
        reply(service, Turn(talk(20), tenant=tenant, cache_key="x", priority=3))
    assert [(r.tenant, r.scope, r.priority) for r in service.generator.requests] == [
        (tenant, f"{tenant}\nx", 3) for tenant in ("ada", "ada", "bob", "bob")
    ]


# A real engine


@pytest.fixture(scope="module")
def engine(tiny_config, one_thread):
    engine = Engine(create(tiny_config, seed=0).decoder, slots=2)
    yield engine
    engine.close()


@pytest.mark.parametrize("name", ["drop_oldest", "summarise"])
def test_a_real_model_goes_on_for_ever(engine, tokenizer, name):
    service = ChatService("tiny", 0, "fp", Renderer.of(tokenizer), engine, context_policy=name)
    messages: tuple[Message, ...] = ()
    reports = []
    for number in range(12):
        messages += (user(f"Question {number}, lamp"),)
        answer = reply(service, Turn(messages, {"max_tokens": 8, "seed": number}))
        assert answer.usage.completion_tokens - (answer.context.usage.completion_tokens if answer.context else 0) <= 8
        messages += (assistant(answer.text),)
        reports.append(answer.context)
    assert reports[0] is None
    assert reports[-1] is not None
    dropped = [report.dropped_messages for report in reports if report is not None]
    assert dropped == sorted(dropped)
    same = [stream(service, Turn((*messages, user("Well?")), {"max_tokens": 8, "seed": 1})) for _ in range(2)]
    assert text(same[0]) == text(same[1])
