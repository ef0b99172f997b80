"""The server accepts its own messages as input, in the shapes in which client libraries send them back.

Shapes as in: openai-python's and openai-node's streaming helpers, LangChain's `merge_dicts`, hand-written agent
loops (public reports of "Unknown parameter: 'messages[1].tool_calls[0].index'").
"""

import itertools
import json

import httpx
import openai
import pytest
from langchain_core.utils._merge import merge_dicts

from turnwise.app.chat_services import open_chat_service
from turnwise.core.messages import Message, ToolCall
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread

HELLO = [{"role": "user", "content": "Hello"}]
F = ToolCall("call_1", "f", '{"a": 1}')
G = ToolCall("call_2", "g", '{"b": [1, {"c": null}]}')
NOTE = ToolCall("call_3", "note", "a\nb", "custom")
SCRIPTS = {
    "text": (["Hello", " you"], None),
    "nothing": ([""], None),
    "talks and calls": (["I look.", F, G], None),
    "calls": ([F], None),
    "calls twice": ([F, G], None),
    "custom": ([NOTE], None),
    "both kinds": (["So:", F, NOTE], None),
    "cut short": ([ToolCall("call_1", "f", '{"a": ')], "length"),
    "older form": ([F], None),
    "older form with text": (["I look.", F], None),
}
TOOLS = [
    {"type": "function", "function": {"name": "f"}},
    {"type": "function", "function": {"name": "g"}},
    {"type": "custom", "custom": {"name": "note"}},
]


def chunks_of(client, body):
    text = client.post("/v1/chat/completions", json={**body, "stream": True}).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


# Accumulators: functions from the chunks of a stream to the message of one choice.


def deltas(chunks, index):
    return [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]


def merge_deltas(chunks, index):
    """As LangChain: merge the deltas key by key; tool calls keep `index`."""
    return merge_dicts({}, *(choice["delta"] for choice in deltas(chunks, index)))


def merge_choices(chunks, index):
    """Merge the deltas, and add the fields of the choices to the message."""
    message = {}
    for choice in deltas(chunks, index):
        choice_fields = {name: value for name, value in choice.items() if name != "delta" and value is not None}
        message = merge_dicts(message, choice["delta"]) | choice_fields
    return message


def accumulate_manually(chunks, index):
    """Start with all fields empty; use one shape for both kinds of calls."""
    message = {
        "role": "assistant", "content": "", "refusal": None, "audio": None, "annotations": [], "function_call": None,
        "tool_calls": [], "reasoning_content": "", "logprobs": None, "finish_reason": None, "name": None,
    }  # fmt: skip
    for choice in deltas(chunks, index):
        delta = choice["delta"]
        message["content"] += delta.get("content") or ""
        message["finish_reason"] = choice["finish_reason"]
        if "function_call" in delta:
            function_call = message["function_call"] or {"name": "", "arguments": ""}
            function_call["name"] += delta["function_call"].get("name") or ""
            function_call["arguments"] += delta["function_call"]["arguments"]
            message["function_call"] = function_call
        for call_delta in delta.get("tool_calls", []):
            while len(message["tool_calls"]) <= call_delta["index"]:
                blank = {"function": {"name": "", "arguments": ""}, "custom": {"name": "", "input": ""}}
                message["tool_calls"].append({"index": call_delta["index"], "id": "", "type": "", **blank})
            call = message["tool_calls"][call_delta["index"]]
            call["id"] += call_delta.get("id") or ""
            call["type"] += call_delta.get("type") or ""
            for kind in ("function", "custom"):
                for name, text in call_delta.get(kind, {}).items():
                    call[kind][name] += text or ""
    return message


def accumulate_typed(chunks, index):
    """Merge the typed deltas of the official Python client, dumped with all fields."""
    message = {}
    for chunk in chunks:
        for choice in openai.types.chat.ChatCompletionChunk.construct(**chunk).choices:
            if choice.index == index:
                message = merge_dicts(message, choice.delta.model_dump(warnings=False))
    return message


ACCUMULATORS = [merge_deltas, merge_choices, accumulate_manually, accumulate_typed]


def plain_message(answer, index):
    return answer["choices"][index]["message"]


def typed_message(answer, index):
    """Return the typed message of the official Python client, dumped with all fields."""
    return openai.types.chat.ChatCompletion.construct(**answer).choices[index].message.model_dump(warnings=False)


def message_with_choice_fields(answer, index):
    choice = answer["choices"][index]
    return {**choice["message"], **{name: value for name, value in choice.items() if name != "message"}}


MESSAGE_FORMS = [plain_message, typed_message, message_with_choice_fields]


def results(message):
    if message.get("function_call"):
        return [{"role": "function", "name": message["function_call"]["name"], "content": "done"}]
    calls = message.get("tool_calls") or []
    return [{"role": "tool", "tool_call_id": call["id"], "name": "f", "content": "done"} for call in calls]


def assert_accepted(client, services, message, script):
    services["scripted"].requests.clear()
    history = [*HELLO, message, *results(message), *HELLO]
    again = client.post("/v1/chat/completions", json={"model": "scripted", "messages": history})
    assert again.status_code == 200, (message, again.json())
    read = services["scripted"].requests[0].messages[1]
    text = "".join(entry for entry in script if isinstance(entry, str))
    assert read.content == text
    assert [call.arguments for call in read.tool_calls] == [c.arguments for c in script if isinstance(c, ToolCall)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_messages_of_responses_and_streams_are_accepted_as_input(url, services, chat, name):
    script, finish = SCRIPTS[name]
    services["scripted"] = ScriptedChatService(script, finish=finish or "stop")
    body = {"model": "scripted", "messages": HELLO}
    body |= {"functions": [TOOLS[0]["function"]]} if name.startswith("older") else {"tools": TOOLS, "n": 2}
    answers = 1 if name.startswith("older") else 2
    with httpx.Client(base_url=url) as client:
        for accumulate, index in itertools.product(ACCUMULATORS, range(answers)):
            assert_accepted(client, services, accumulate(chunks_of(client, body), index), script)
        for get_message, index in itertools.product(MESSAGE_FORMS, range(answers)):
            assert_accepted(
                client, services, get_message(client.post("/v1/chat/completions", json=body).json(), index), script
            )


def test_stored_messages_are_accepted_as_input(url, services, chat, store):
    services["scripted"] = ScriptedChatService(["I look.", F], store=store)
    conversation = store.create(title="t", model="scripted").id
    body = {"model": "scripted", "messages": HELLO, "tools": TOOLS}
    with httpx.Client(base_url=url) as client:
        completion = client.post(
            "/v1/chat/completions", json={**body, "conversation_id": conversation, "store": True}
        ).json()
        store.append(conversation, [Message("tool", "done", tool_call_id="call_1")])
        stored = client.get(f"/v1/conversations/{conversation}").json()["messages"]
        assert client.post("/v1/chat/completions", json={**body, "messages": stored}).status_code == 200
        listed = client.get(f"/v1/chat/completions/{completion['id']}/messages").json()["data"]
        assert client.post("/v1/chat/completions", json={**body, "messages": listed}).status_code == 200


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None, "refusal": "I won't."}, "I won't."),
        ({"content": "", "refusal": "I won't."}, "I won't."),
        ({"content": "Well.", "refusal": "I won't."}, "Well.\nI won't."),
        ({"content": [{"type": "refusal", "refusal": "No."}, {"type": "text", "text": "Yes."}]}, "No.\nYes."),
        ({"content": "Yes", "reasoning_content": "I think so."}, "Yes"),
        ({"content": '{"a": 1}', "parsed": {"a": 1}}, '{"a": 1}'),
        ({"content": "Yes", "function_call": {"name": "", "arguments": ""}, "tool_calls": []}, "Yes"),
        ({"content": "Yes", "id": "msg_1", "annotations": [], "audio": None}, "Yes"),
    ],
)
def test_every_published_form_of_an_assistant_message_is_accepted(url, chat, message, text):
    messages = [*HELLO, {"role": "assistant", **message}, *HELLO]
    answer = httpx.post(f"{url}/v1/chat/completions", json={"model": "scripted", "messages": messages})
    assert answer.status_code == 200, answer.text
    assert chat.requests[0].messages[1].content == text


def test_null_counts_as_absent_in_every_object(url, chat):
    """Clients in typed languages have one type for all messages and send all of its fields."""
    fields = dict.fromkeys(
        ("name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "annotations", "pinned", "id")
    )
    function = {"name": "f", "description": None, "parameters": None, "strict": None}
    body = {
        "model": "scripted",
        "messages": [
            {**fields, "role": "system", "content": "Be kind."},
            {**fields, "role": "user", "content": [
                {"type": "text", "text": "Hi", "refusal": None, "image_url": None, "prompt_cache_breakpoint": None}]},
            {**fields, "role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}", "parsed_arguments": None},
                 "custom": None, "index": None}]},
            {**fields, "role": "tool", "content": "done", "tool_call_id": "c"},
        ],
        "tools": [
            {"type": "function", "function": function, "custom": None},
            {"type": "custom", "function": None, "custom": {"name": "g", "description": None, "format": {
                "type": "text", "grammar": None}}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}, "custom": None, "allowed_tools": None},
        "response_format": {"type": "text", "json_schema": None},
        "prediction": {"type": "content", "content": [{"type": "text", "text": "a", "refusal": None}]},
        "stream_options": None,
        "not_yet_invented": None,
    }  # fmt: skip
    answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    body |= {"stream": True, "stream_options": {"include_usage": None, "include_obfuscation": None, "other": None}}
    assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 200
    tokens = {"prompt": "a", "messages": None, "add_generation_prompt": None, "model": "scripted"}
    assert httpx.post(f"{url}/tokenize", json=tokens).json().get("error", {}).get("code") != "invalid_type"


@pytest.fixture(scope="module")
def box():
    with open_chat_service() as service, serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield url


@pytest.mark.parametrize("accumulate", ACCUMULATORS)
def test_a_message_with_logprobs_is_accepted_as_input(box, accumulate):
    body = {"model": "box", "messages": HELLO, "max_tokens": 4, "logprobs": True, "top_logprobs": 1, "seed": 1}
    with httpx.Client(base_url=box, timeout=60) as client:
        message = accumulate(chunks_of(client, body), 0)
        again = client.post("/v1/chat/completions", json={**body, "messages": [*HELLO, message, *HELLO]})
        assert again.status_code == 200, again.text
        message_with_logprobs = message_with_choice_fields(client.post("/v1/chat/completions", json=body).json(), 0)
        again = client.post("/v1/chat/completions", json={**body, "messages": [*HELLO, message_with_logprobs, *HELLO]})
        assert again.status_code == 200, again.text
