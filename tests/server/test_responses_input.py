"""Input items of a response: the messages that they become, and the errors with their paths."""

import httpx
import openai
import pytest
from openai.types.responses import Response

from turnwise.core.messages import Message, ToolCall
from turnwise.testing import ScriptedChatService

CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Rome"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
HELLO = {"role": "user", "content": "Hello"}


def post(url, items, **fields):
    return httpx.post(f"{url}/v1/responses", json={"model": "scripted", "input": items, "store": False, **fields})


def read_messages(url, chat, items):
    response = post(url, items)
    assert response.status_code == 200, response.text
    return chat.requests[-1].messages


def rejected(url, items, **fields):
    response = post(url, items, **fields)
    assert response.status_code == 400, response.text
    return response.json()["error"]


def test_messages_of_every_role_and_form_are_read(url, chat):
    parts = [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]
    items = [
        {"role": "system", "content": "s"},
        {"type": "message", "role": "developer", "content": parts},
        {"role": "user", "content": "Hi", "status": None, "id": None},
        {"role": "assistant", "content": "Yes?", "phase": "final_answer"},
        {"role": "user", "content": parts[:1]},
    ]
    assert read_messages(url, chat, items) == (
        Message("system", "s"), Message("developer", "one\ntwo"), Message("user", "Hi"), Message("assistant", "Yes?"),
        Message("user", "one"),
    )  # fmt: skip


def test_calls_and_their_outputs_are_read(url, chat):
    second = CALL | {"call_id": "call_2", "id": "fc_2", "status": "completed"}
    custom = {"type": "custom_tool_call", "call_id": "call_3", "name": "note", "input": "ciao"}
    items = [
        HELLO, {"role": "assistant", "content": "Let me see."}, CALL, second,
        OUTPUT, OUTPUT | {"call_id": "call_2", "output": [{"type": "input_text", "text": "rain"}]},
        custom, {"type": "custom_tool_call_output", "call_id": "call_3", "output": "noted"},
    ]  # fmt: skip
    calls = (ToolCall("call_1", "weather", CALL["arguments"]), ToolCall("call_2", "weather", CALL["arguments"]))
    assert read_messages(url, chat, items) == (
        Message("user", "Hello"),
        Message("assistant", "Let me see.", tool_calls=calls),
        Message("tool", "sunny", tool_call_id="call_1"),
        Message("tool", "rain", tool_call_id="call_2"),
        Message("assistant", "", tool_calls=(ToolCall("call_3", "note", "ciao", "custom"),)),
        Message("tool", "noted", tool_call_id="call_3"),
    )


def test_reasoning_of_another_server_is_not_shown_to_the_model(url, chat):
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA", "status": None}
    assert read_messages(url, chat, [HELLO, reasoning, CALL, OUTPUT])[1].tool_calls[0].id == "call_1"


def test_output_items_are_accepted_as_input(url, services, store):
    """A client that keeps the history itself sends output items as objects of the official client or as JSON."""
    calls = [ToolCall("call_1", "weather", '{"city": "Rome"}'), ToolCall("call_2", "note", "ciao", "custom")]
    chat = services["scripted"] = ScriptedChatService(["Let me see.", *calls], store=store)
    tools = [{"type": "function", "name": "weather"}, {"type": "custom", "name": "note"}]
    outputs = [OUTPUT, {"type": "custom_tool_call_output", "call_id": "call_2", "output": "noted"}]
    body = post(url, "Hello", tools=tools).json()
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
        with client.responses.stream(model="scripted", input="Hello", tools=tools) as stream:
            final = stream.get_final_response()
        forms = [
            body["output"], final.output, [item.model_dump() for item in final.output],
            [item.to_dict() for item in Response.model_validate(body).output],
        ]  # fmt: skip
        for output in forms:
            client.responses.create(model="scripted", input=[HELLO, *output, *outputs], tools=tools)
            assert chat.requests[-1].messages == (
                Message("user", "Hello"), Message("assistant", "Let me see.", tool_calls=tuple(calls)),
                Message("tool", "sunny", tool_call_id="call_1"), Message("tool", "noted", tool_call_id="call_2"),
            )  # fmt: skip


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([], "input"),
        (5, "input"),
        ([5], "input[0]"),
        ([{"content": "x"}], "input[0].type"),
        ([{"role": "tool", "content": "x"}], "input[0].role"),
        ([HELLO | {"phase": "final_answer"}], "input[0].phase"),
        ([HELLO | {"name": "Ada"}], "input[0].name"),
        ([{"role": "user", "content": []}], "input[0].content"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "output_text", "text": "x"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text"),
        ([HELLO, CALL], "input[1]"),
        ([HELLO, CALL, HELLO], "input[1]"),
        ([HELLO, OUTPUT], "input[1].call_id"),
        ([HELLO, CALL, OUTPUT, OUTPUT], "input[3].call_id"),
        ([HELLO, CALL, CALL], "input[2].call_id"),
        ([HELLO, CALL, OUTPUT | {"type": "custom_tool_call_output"}], "input[2].call_id"),
        ([CALL | {"arguments": {}}], "input[0].arguments"),
        ([CALL | {"call_id": None}], "input[0].call_id"),
        ([CALL | {"namespace": "mcp"}], "input[0].namespace"),
        ([CALL | {"parsed_arguments": {"city": "Oslo"}}, OUTPUT], "input[0].parsed_arguments"),
        ([CALL, OUTPUT | {"output": 5}], "input[1].output"),
        ([{"type": "web_search_call", "id": "ws_1"}], "input[0].type"),
        ([HELLO | {"status": "lost"}], "input[0].status"),
    ],
)
def test_an_invalid_item_is_rejected_with_its_path(url, items, param):
    assert rejected(url, items)["param"] == param


def test_a_missing_input_is_rejected(url):
    assert rejected(url, None)["param"] == "input"
    assert rejected(url, None, instructions="Say hello.")["param"] == "input"
