"""Tool calls in responses: text and calls, finish reasons, constraints, storage and rejected requests."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace

import pytest
from fakes import FakeEngine, answer_events, joined_text, reply, stream

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
NOTE_CALL = '<tool_call>\n{"name": "note", "arguments": {"input": "a\\nb"}}\n</tool_call>'


def tool_request(choice=ToolChoice("auto"), **fields):
    """A request with both tools."""
    return ChatRequest(HELLO, tools=ToolOptions((WEATHER, NOTE), choice), **fields)


@pytest.fixture
def says(tokenizer):
    """`says(text)`: a service that answers with the text, one token per event."""

    def says(text, finish="stop", *, store=None, logprobs=False):
        events = answer_events(tokenizer.encode(text), finish)
        if logprobs:
            events = [
                event if event.finish_reason else replace(event, logprobs=TokenLogprobs(-1.0)) for event in events
            ]
        return EngineChatService(
            "tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), FakeEngine(events, 4000), store=store
        )

    return says


def merge_calls(deltas):
    return merge_tool_call_deltas(call_delta for delta in deltas for call_delta in delta.tool_calls)


def test_text_and_tool_calls_are_separated(says):
    deltas = stream(says(f"I look.\n{CALL}\n{NOTE_CALL}"), tool_request())
    assert joined_text(deltas) == "I look."
    weather, note = merge_calls(deltas)
    assert (weather.name, weather.kind, json.loads(weather.arguments)) == (
        "get_weather",
        "function",
        {"city": "Rome 🚚"},
    )
    assert (note.name, note.kind, note.arguments) == ("note", "custom", "a\nb")
    assert weather.id != note.id
    assert weather.id.startswith("call_")
    call_deltas = [call_delta for delta in deltas for call_delta in delta.tool_calls]
    assert [(delta.index, delta.arguments) for delta in call_deltas if delta.name] == [(0, ""), (1, "")]
    assert all(delta.id is None for delta in call_deltas if not delta.name)
    assert len(call_deltas) > 6, "arguments are streamed"
    assert deltas[-1].finish_reason == "tool_calls"


def test_the_reply_equals_the_stream(says):
    choice = reply(says(f"I look.\n{CALL}\n{NOTE_CALL}"), tool_request()).choices[0]
    deltas = stream(says(f"I look.\n{CALL}\n{NOTE_CALL}"), tool_request())
    assert choice.text == joined_text(deltas)
    assert [(call.name, call.arguments) for call in choice.tool_calls] == [
        (call.name, call.arguments) for call in merge_calls(deltas)
    ]
    assert choice.finish_reason == "tool_calls"


def test_an_answer_without_a_tool_call_finishes_with_stop(says):
    answer = reply(says("No need."), tool_request()).choices[0]
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("No need.", (), "stop")


def test_a_partial_marker_at_the_end_is_text(says):
    assert reply(says("a\n<tool_ca"), tool_request()).text == "a\n<tool_ca"


@pytest.mark.parametrize("cut", range(0, len(CALL), 3))
def test_a_tool_call_cut_by_the_token_limit_is_returned_partially(says, cut):
    answer = reply(says("So\n" + CALL[:cut], "length"), tool_request()).choices[0]
    assert answer.finish_reason == "length"
    assert answer.text == ("So" if cut >= len("<tool_call>") else "So\n" + CALL[:cut])
    assert [call.name for call in answer.tool_calls] == ["get_weather"] * (cut > CALL.index("get_weather") + 11)
    for call in answer.tool_calls:
        assert '{"city": "Rome 🚚"}'.startswith(call.arguments.removesuffix("\ufffd"))


def test_without_callable_tools_all_output_is_text(says):
    for request in (ChatRequest(HELLO), tool_request(choice=ToolChoice("none"))):
        answer = reply(says(CALL), request).choices[0]
        assert (answer.text, answer.tool_calls, answer.finish_reason) == (CALL, (), "stop")


def test_with_tool_choice_none_the_prompt_has_no_tools(says):
    service = says("x")
    reply(service, tool_request(choice=ToolChoice("none")))
    reply(service, ChatRequest(HELLO))
    reply(service, tool_request())
    none_request, plain_request, with_tools = service.engine.requests
    assert none_request.prompt_ids == plain_request.prompt_ids
    assert none_request.constraints == ()
    assert len(with_tools.prompt_ids) > len(plain_request.prompt_ids)
    assert len(with_tools.constraints) == 1


def test_allowed_tools_restrict_the_calls_and_not_the_prompt(says, tokenizer):
    service = says("x")
    reply(service, tool_request())
    reply(service, tool_request(choice=ToolChoice("required", ("note",))))
    all_allowed, one_allowed = service.engine.requests
    assert all_allowed.prompt_ids == one_allowed.prompt_ids
    state = one_allowed.constraints[0].start()
    for id in tokenizer.encode('<tool_call>\n{"name": "'):
        assert state.token_mask()[id]
        state.accept(id)
    assert {tokenizer.decode([int(id)])[0] for id in state.token_mask().nonzero()[0]} == {"n"}


# Stop strings and log-probabilities


def test_stop_strings_apply_to_the_text_and_not_to_tool_calls(says):
    service = says(f"I look. Now\n{CALL}")
    answer = reply(service, tool_request(sampling={"stop": ["Now"]})).choices[0]
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("I look. ", (), "stop")
    assert service.engine.handles[0].num_cancels
    answer = reply(
        says(f"I look.\n{CALL}"), tool_request(sampling={"stop": ["Rome", "look.\n<", "<tool_call>"]})
    ).choices[0]
    assert (answer.text, len(answer.tool_calls), answer.finish_reason) == ("I look.", 1, "tool_calls")


def test_log_probabilities_cover_the_text_and_not_the_tool_calls(says):
    for output, visible in ((f"I look. {CALL}", "I look. "), (CALL, ""), ("I look.", "I look.")):
        for logprobs in (
            reply(says(output, logprobs=True), tool_request()).choices[0].logprobs,
            [entry for delta in stream(says(output, logprobs=True), tool_request()) for entry in delta.logprobs],
        ):
            assert b"".join(entry.token.bytes for entry in logprobs).decode() == visible


# Stored conversations


def test_a_stored_conversation_continues_after_a_tool_call(says):
    store = open_store("sqlite:///:memory:")
    conversation_id = store.create(title="", model="tiny").id
    answer = reply(says(CALL, store=store), tool_request(conversation_id=conversation_id)).choices[0]
    call_message = Message("assistant", "", tool_calls=answer.tool_calls)
    assert [stored.message for stored in store.get(conversation_id).messages] == [*HELLO, call_message]
    ids = [stored.id for stored in store.get(conversation_id).messages]
    result = Message("tool", "sunny", tool_call_id=answer.tool_calls[0].id)
    following = ChatRequest(
        (*HELLO, call_message, result), conversation_id=conversation_id, tools=ToolOptions((WEATHER,))
    )
    reply(says("It is sunny.", store=store), following)
    assert [stored.message for stored in store.get(conversation_id).messages] == [
        *HELLO, call_message, result, Message("assistant", "It is sunny.")
    ]  # fmt: skip
    assert [stored.id for stored in store.get(conversation_id).messages][:2] == ids, "stored messages keep their ids"
    edited = Message(
        "assistant", "", tool_calls=(ToolCall(answer.tool_calls[0].id, "get_weather", '{"city": "Bern"}'),)
    )
    reply(
        says("Rain.", store=store),
        ChatRequest((*HELLO, edited, result), conversation_id=conversation_id, tools=ToolOptions((WEATHER,))),
    )
    assert [stored.message for stored in store.get(conversation_id).messages][1] == edited
    store.close()


def test_a_tool_call_interrupted_by_a_disconnect_is_stored_partially(tokenizer):
    store = open_store("sqlite:///:memory:")
    conversation_id = store.create(title="", model="tiny").id
    engine = FakeEngine([TokenEvent(id) for id in tokenizer.encode(CALL[:60])], 4000)  # without a last event
    service = EngineChatService("tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), engine, store=store)

    async def disconnect():
        async with aclosing(service.stream(tool_request(conversation_id=conversation_id))) as deltas:
            async for delta in deltas:
                if delta.tool_calls and not delta.tool_calls[0].name:
                    return

    asyncio.run(disconnect())
    assert engine.handles[0].num_cancels
    [call] = store.get(conversation_id).messages[1].message.tool_calls
    assert call.name == "get_weather"
    assert call.arguments
    store.close()


# Rejected requests


@pytest.mark.parametrize(
    ("fields", "param"),
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
def test_fields_that_contradict_tools_are_rejected(says, fields, param):
    with pytest.raises(InvalidParameter) as error:
        reply(says("x"), ChatRequest(**{"messages": HELLO, "tools": ToolOptions((WEATHER,)), **fields}))
    assert error.value.param == param


def test_an_unpaired_surrogate_in_a_tool_call_is_rejected(says):
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


def test_a_marker_that_is_a_special_token_is_recognized(corpus):
    tokenizer = train_bpe(corpus, vocab_size=512)
    tokenizer.backend.add_special_tokens(["[TOOL_CALLS]"])
    tokenizer = Tokenizer(tokenizer.backend, tokenizer.special_tokens_map, MISTRAL)
    output = 'I look. 🚚[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Rome"}}]'
    ids = tokenizer.encode(output, allow_special=True)
    assert tokenizer.token_to_id("[TOOL_CALLS]") in ids
    service = EngineChatService(
        "tiny", 0, "fp", Renderer.from_tokenizer(tokenizer), FakeEngine(answer_events(ids), 4000)
    )
    answer = reply(service, tool_request()).choices[0]
    assert (answer.text, answer.finish_reason) == ("I look. 🚚", "tool_calls")
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("get_weather", '{"city": "Rome"}')]
    state = service.engine.requests[0].constraints[0].start()
    for id in ids:
        assert state.token_mask()[id]
        state.accept(id)
    assert reply(service, tool_request(choice=ToolChoice("none"))).text == output.replace("[TOOL_CALLS]", "")
