"""Tools in a turn: what comes out of an answer that calls, piece by piece and whole, and how it ends."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace

import pytest
from fakes import FakeGenerator, reply, saying, stream, text

from turnwise.chat.service import EngineChatService
from turnwise.chat.tool_calling import merge_tool_call_deltas
from turnwise.core.chat_request import ChatRequest, ContextOptions, OutputOptions, ResponseFormat, ToolOptions
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.inference import TokenEvent, TokenLogprobs
from turnwise.core.messages import Message, ToolCall
from turnwise.core.tools import Tool, ToolChoice
from turnwise.store import open_store
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.bpe_training import train_bpe
from turnwise.text.tokenization.tokenizer import Tokenizer

pytestmark = pytest.mark.timeout(60)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", schema=SCHEMA, definition={"type": "function", "function": {"name": "get_weather"}})
NOTE = Tool("note", kind="custom", definition={"type": "function", "function": {"name": "note"}})
HELLO = (Message("user", "Hello"),)
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome 🚚"}}\n</tool_call>'
NOTED = '<tool_call>\n{"name": "note", "arguments": {"input": "a\\nb"}}\n</tool_call>'


def tool_request(choice=ToolChoice("auto"), **fields):
    """A request with both tools."""
    return ChatRequest(HELLO, tools=ToolOptions((WEATHER, NOTE), choice), **fields)


@pytest.fixture
def says(tokenizer):
    """`says(text)`: a service that says it, one token at a time."""

    def says(text, finish="stop", *, store=None, logprobs=False):
        events = saying(tokenizer.encode(text), finish)
        if logprobs:
            events = [
                event if event.finish_reason else replace(event, logprobs=TokenLogprobs(-1.0)) for event in events
            ]
        return EngineChatService(
            "tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), FakeGenerator(events, 4000), store=store
        )

    return says


def calls_of(deltas):
    return merge_tool_call_deltas(piece for delta in deltas for piece in delta.tool_calls)


def test_text_and_calls_come_apart(says):
    deltas = stream(says(f"I look.\n{CALL}\n{NOTED}"), tool_request())
    assert text(deltas) == "I look."
    one, other = calls_of(deltas)
    assert (one.name, one.kind, json.loads(one.arguments)) == ("get_weather", "function", {"city": "Rome 🚚"})
    assert (other.name, other.kind, other.arguments) == ("note", "custom", "a\nb")
    assert one.id != other.id
    assert one.id.startswith("call_")
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert [(p.index, p.arguments) for p in pieces if p.name] == [(0, ""), (1, "")]
    assert all(piece.id is None for piece in pieces if not piece.name)
    assert len(pieces) > 6, "arguments come as they are written"
    assert deltas[-1].finish_reason == "tool_calls"


def test_the_whole_answer_is_the_stream(says):
    whole = reply(says(f"I look.\n{CALL}\n{NOTED}"), tool_request()).choices[0]
    deltas = stream(says(f"I look.\n{CALL}\n{NOTED}"), tool_request())
    assert whole.text == text(deltas)
    assert [(c.name, c.arguments) for c in whole.tool_calls] == [(c.name, c.arguments) for c in calls_of(deltas)]
    assert whole.finish_reason == "tool_calls"


def test_an_answer_without_a_call_ends_as_ever(says):
    answer = reply(says("No need."), tool_request()).choices[0]
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("No need.", (), "stop")


def test_what_only_began_like_a_marker_is_said_in_the_end(says):
    assert reply(says("a\n<tool_ca"), tool_request()).text == "a\n<tool_ca"


@pytest.mark.parametrize("cut", range(0, len(CALL), 3))
def test_the_limit_inside_a_call_leaves_a_part_of_it(says, cut):
    answer = reply(says("So\n" + CALL[:cut], "length"), tool_request()).choices[0]
    assert answer.finish_reason == "length"
    assert answer.text == ("So" if cut >= len("<tool_call>") else "So\n" + CALL[:cut])
    assert [call.name for call in answer.tool_calls] == ["get_weather"] * (cut > CALL.index("get_weather") + 11)
    for call in answer.tool_calls:
        assert '{"city": "Rome 🚚"}'.startswith(call.arguments.removesuffix("\ufffd"))


def test_without_tools_or_with_none_to_choose_all_is_said(says):
    for plain in (ChatRequest(HELLO), tool_request(choice=ToolChoice("none"))):
        answer = reply(says(CALL), plain).choices[0]
        assert (answer.text, answer.tool_calls, answer.finish_reason) == (CALL, (), "stop")


def test_with_none_to_choose_the_model_is_not_told_of_tools(says):
    service = says("x")
    reply(service, tool_request(choice=ToolChoice("none")))
    reply(service, ChatRequest(HELLO))
    reply(service, tool_request())
    none, plain, told = service.engine.requests
    assert none.prompt_ids == plain.prompt_ids
    assert none.constraints == ()
    assert len(told.prompt_ids) > len(plain.prompt_ids)
    assert len(told.constraints) == 1


def test_allowed_tools_are_fewer_and_the_prompt_is_the_same(says, tokenizer):
    service = says("x")
    reply(service, tool_request())
    reply(service, tool_request(choice=ToolChoice("required", ("note",))))
    all, some = service.engine.requests
    assert all.prompt_ids == some.prompt_ids
    state = some.constraints[0].start()
    for id in tokenizer.encode('<tool_call>\n{"name": "'):
        assert state.token_mask()[id]
        state.accept(id)
    assert {tokenizer.decode([int(id)])[0] for id in state.token_mask().nonzero()[0]} == {"n"}


# Stop strings and log-probabilities


def test_stop_strings_end_what_is_said_and_leave_calls_alone(says):
    service = says(f"I look. Now\n{CALL}")
    answer = reply(service, tool_request(sampling={"stop": ["Now"]})).choices[0]
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("I look. ", (), "stop")
    assert service.engine.tickets[0].cancelled
    answer = reply(
        says(f"I look.\n{CALL}"), tool_request(sampling={"stop": ["Rome", "look.\n<", "<tool_call>"]})
    ).choices[0]
    assert (answer.text, len(answer.tool_calls), answer.finish_reason) == ("I look.", 1, "tool_calls")


def test_log_probabilities_are_those_of_what_is_said(says):
    for said, kept in ((f"I look. {CALL}", "I look. "), (CALL, ""), ("I look.", "I look.")):
        for answer in (
            reply(says(said, logprobs=True), tool_request()).choices[0].logprobs,
            [one for delta in stream(says(said, logprobs=True), tool_request()) for one in delta.logprobs],
        ):
            assert b"".join(one.token.bytes for one in answer).decode() == kept


# Memory and messages


def test_a_conversation_keeps_calls_and_goes_on(says):
    store = open_store("sqlite:///:memory:")
    kept = store.create(title="", model="tiny").id
    answer = reply(says(CALL, store=store), tool_request(conversation_id=kept)).choices[0]
    said = Message("assistant", "", tool_calls=answer.tool_calls)
    assert [stored.message for stored in store.get(kept).messages] == [*HELLO, said]
    ids = [stored.id for stored in store.get(kept).messages]
    result = Message("tool", "sunny", tool_call_id=answer.tool_calls[0].id)
    going_on = ChatRequest((*HELLO, said, result), conversation_id=kept, tools=ToolOptions((WEATHER,)))
    reply(says("It is sunny.", store=store), going_on)
    assert [stored.message for stored in store.get(kept).messages] == [
        *HELLO, said, result, Message("assistant", "It is sunny.")
    ]  # fmt: skip
    assert [stored.id for stored in store.get(kept).messages][:2] == ids, "added to, not written anew"
    other = Message("assistant", "", tool_calls=(ToolCall(answer.tool_calls[0].id, "get_weather", '{"city": "Bern"}'),))
    reply(
        says("Rain.", store=store),
        ChatRequest((*HELLO, other, result), conversation_id=kept, tools=ToolOptions((WEATHER,))),
    )
    assert [stored.message for stored in store.get(kept).messages][1] == other
    store.close()


def test_who_leaves_inside_a_call_finds_its_beginning(tokenizer):
    store = open_store("sqlite:///:memory:")
    kept = store.create(title="", model="tiny").id
    generator = FakeGenerator([TokenEvent(id) for id in tokenizer.encode(CALL[:60])], 4000)  # and no end
    service = EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), generator, store=store)

    async def leave():
        async with aclosing(service.stream(tool_request(conversation_id=kept))) as deltas:
            async for delta in deltas:
                if delta.tool_calls and not delta.tool_calls[0].name:
                    return

    asyncio.run(leave())
    assert generator.tickets[0].cancelled
    [call] = store.get(kept).messages[1].message.tool_calls
    assert call.name == "get_weather"
    assert call.arguments
    store.close()


# Refusals


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"sampling": {"ignore_eos": True}}, "ignore_eos"),
        ({"sampling": {"min_tokens": 3}}, "min_tokens"),
        ({"output": OutputOptions(format=ResponseFormat("regex", "a+", "guided_regex"))}, "guided_regex"),
        ({"output": OutputOptions(format=ResponseFormat("choice", ("a",), "guided_choice"))}, "guided_choice"),
        (
            {
                "messages": (*HELLO, Message("assistant", "So")),
                "context": ContextOptions(continue_final_message=True),
            },
            "tools",
        ),
    ],
)
def test_what_does_not_go_with_tools_is_refused(says, more, param):
    with pytest.raises(InvalidParameter) as error:
        reply(says("x"), ChatRequest(**{"messages": HELLO, "tools": ToolOptions((WEATHER,)), **more}))
    assert error.value.param == param


def test_half_a_surrogate_pair_in_a_call_is_refused(says):
    call = ToolCall("c", "f", '{"a": "\ud800"}')
    with pytest.raises(InvalidData, match="valid Unicode"):
        reply(says("x"), ChatRequest((*HELLO, Message("assistant", "", tool_calls=(call,)))))


# A marker that is a special token

MISTRAL = """\
{%- for message in messages %}{{- message.content + eos_token }}
    {%- for call in message.tool_calls or [] %}{{- '[TOOL_CALLS][{"name": "' + call.function.name }}{% endfor %}
{%- endfor %}
{%- if tools %}{{- tools | tojson }}{% endif %}
"""


def test_a_marker_that_is_never_shown_is_read_all_the_same(corpus):
    tokenizer = train_bpe(corpus, vocab_size=512)
    tokenizer.backend.add_special_tokens(["[TOOL_CALLS]"])
    tokenizer = Tokenizer(tokenizer.backend, tokenizer.special_tokens_map, MISTRAL)
    said = 'I look. 🚚[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Rome"}}]'
    ids = tokenizer.encode(said, allow_special=True)
    assert tokenizer.token_to_id("[TOOL_CALLS]") in ids
    service = EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), FakeGenerator(saying(ids), 4000))
    answer = reply(service, tool_request()).choices[0]
    assert (answer.text, answer.finish_reason) == ("I look. 🚚", "tool_calls")
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("get_weather", '{"city": "Rome"}')]
    state = service.engine.requests[0].constraints[0].start()
    for id in ids:
        assert state.token_mask()[id]
        state.accept(id)
    assert reply(service, tool_request(choice=ToolChoice("none"))).text == said.replace("[TOOL_CALLS]", "")
