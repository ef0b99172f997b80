"""Tools over HTTP: parsing and validation of requests, and the shape of responses with calls."""

import json

import httpx
import openai
import pytest

from turnwise.core.messages import Message, ToolCall
from turnwise.core.tools import ToolChoice
from turnwise.testing import ScriptedChatService

HELLO = [{"role": "user", "content": "Hello there"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": SCHEMA}}
NOW = {"type": "function", "function": {"name": "now"}}
NOTE = {"type": "custom", "custom": {"name": "note"}}
CALL = ToolCall("call_1", "get_weather", '{"city": "Rome"}')
CUSTOM_CALL = ToolCall("call_2", "note", "a\nb", "custom")


def function(**more):
    return {"type": "function", "function": {"name": "f", **more}}


def custom(**more):
    return {"type": "custom", "custom": {"name": "f", **more}}


def grammar(**more):
    return custom(format={"type": "grammar", "grammar": more})


def call(id="call_1", **more):
    return {"id": id, "type": "function", "function": {"name": "get_weather", "arguments": "{}"}, **more}


def assistant_message(*calls, **more):
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def tool_message(id="call_1", **more):
    return {"role": "tool", "tool_call_id": id, "content": "sunny", **more}


@pytest.fixture
def post(url):
    with httpx.Client(base_url=url) as client:
        yield lambda **fields: client.post(
            "/v1/chat/completions", json={"model": "scripted", "messages": HELLO, **fields}
        )


@pytest.fixture
def calling_service(services, chat):
    """Replace the service by one that writes a text and calls two tools."""
    services["scripted"] = ScriptedChatService(["I look.", CALL, CUSTOM_CALL])
    return services["scripted"]


# Requests


def test_tools_reach_the_chat_service(post, chat):
    assert post(tools=[WEATHER, NOW, NOTE]).status_code == 200
    chat_request = chat.requests[0]
    assert [(tool.name, tool.kind) for tool in chat_request.tools.definitions] == [
        ("get_weather", "function"), ("now", "function"), ("note", "custom")
    ]  # fmt: skip
    assert chat_request.tools.definitions[0].definition == WEATHER
    assert chat_request.tools.definitions[0].arguments_schema == SCHEMA
    assert chat_request.tools.definitions[1].arguments_schema == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }
    assert chat_request.tools.definitions[2].definition["function"]["parameters"]["required"] == ["input"]
    assert (chat_request.tools.choice, chat_request.tools.parallel_calls) == (ToolChoice("auto"), True)


@pytest.mark.parametrize(
    ("tool_choice", "choice", "parallel"),
    [
        ("none", ToolChoice("none"), True),
        ("auto", ToolChoice("auto"), True),
        ("required", ToolChoice("required"), True),
        ({"type": "function", "function": {"name": "now"}}, ToolChoice("required", ("now",)), False),
        ({"type": "custom", "custom": {"name": "note"}}, ToolChoice("required", ("note",)), False),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": "now"}}, NOTE]}}, ToolChoice("auto", ("now", "note")), True),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NOTE]}},
         ToolChoice("required", ("note",)), True),
    ],
)  # fmt: skip
def test_the_tool_choice_reaches_the_chat_service(post, chat, tool_choice, choice, parallel):
    assert post(tools=[WEATHER, NOW, NOTE], tool_choice=tool_choice).status_code == 200
    assert (chat.requests[0].tools.choice, chat.requests[0].tools.parallel_calls) == (choice, parallel)


def test_the_legacy_fields_are_equivalent(post, chat):
    assert post(functions=[WEATHER["function"]], function_call={"name": "get_weather"}).status_code == 200
    assert post(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "get_weather"}}).is_success
    older, newer = chat.requests
    assert older.tools.definitions[0].definition == newer.tools.definitions[0].definition
    assert (older.tools.choice, older.tools.parallel_calls) == (newer.tools.choice, newer.tools.parallel_calls)


@pytest.mark.parametrize(
    "fields",
    [{"tools": []}, {"tool_choice": "none"}, {"tool_choice": "auto"}, {"functions": []}, {"function_call": "none"},
     {"function_call": "auto"}, {"parallel_tool_calls": True}, {"parallel_tool_calls": False}],
)  # fmt: skip
def test_neutral_values_of_the_tool_fields_are_accepted(post, chat, fields):
    assert post(**fields).status_code == 200
    assert chat.requests[0].tools.definitions == ()


INVALID_FIELDS = [
    ({"tools": "f"}, "tools", "a list"),
    ({"tools": [function()] * 129}, "tools", "at most 128"),
    ({"tools": ["f"]}, "tools[0]", "an object"),
    ({"tools": [{}]}, "tools[0].type", "function or custom"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search'"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "an object"),
    ({"tools": [{**NOW, "custom": {}}]}, "tools[0].custom", "Unknown parameter"),
    ({"tools": [NOW, function(name="a b")]}, "tools[1].function.name", "1 to 64 letters"),
    ({"tools": [function(name="x" * 65)]}, "tools[0].function.name", "1 to 64 letters"),
    ({"tools": [NOW, NOW]}, "tools[1]", "'now'"),
    ({"tools": [function(parmeters={})]}, "tools[0].function.parmeters", "did you mean 'parameters'"),
    ({"tools": [function(parameters="{}")]}, "tools[0].function.parameters", "a JSON schema"),
    ({"tools": [function(parameters={"type": "string"})]}, "tools[0].function.parameters.type", "must be object"),
    ({"tools": [function(description=3)]}, "tools[0].function.description", "a string"),
    ({"tools": [function(strict="yes")]}, "tools[0].function.strict", "true or false"),
    ({"tools": [custom(schema={})]}, "tools[0].custom.schema", "Unknown parameter"),
    ({"tools": [custom(description=3)]}, "tools[0].custom.description", "a string"),
    ({"tools": [custom(format={"type": "json"})]}, "tools[0].custom.format.type", "text or grammar"),
    ({"tools": [custom(format={"type": "text", "x": 1})]}, "tools[0].custom.format.x", "Unknown parameter"),
    ({"tools": [grammar(syntax="gbnf", definition="x")]}, "tools[0].custom.format.grammar.syntax", "lark or regex"),
    ({"tools": [grammar(syntax="lark", definition="")]}, "tools[0].custom.format.grammar.definition", "not empty"),
    ({"tool_choice": "required"}, "tool_choice", "needs tools"),
    ({"tools": [], "tool_choice": NOTE}, "tool_choice", "needs tools"),
    ({"tools": [NOW], "tool_choice": "any"}, "tool_choice", "'any'"),
    ({"tools": [NOW], "tool_choice": 1}, "tool_choice", "an object"),
    ({"tools": [NOW], "tool_choice": {"type": "now"}}, "tool_choice.type", "allowed_tools"),
    ({"tools": [NOW], "tool_choice": {**NOW, "x": 1}}, "tool_choice.x", "Unknown parameter"),
    ({"tools": [NOW], "tool_choice": WEATHER}, "tool_choice.function.description", "Unknown parameter"),
    ({"tools": [NOW], "tool_choice": NOTE}, "tool_choice.custom.name", "not the name of a custom in the tools: 'note'"),
    ({"tools": [NOW], "tool_choice": {"type": "function", "function": {"name": "other"}}},
     "tool_choice.function.name", "'other'"),
    ({"tools": [NOW], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": [NOW]}}},
     "tool_choice.allowed_tools.mode", "auto or required"),
    ({"tools": [NOW], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
     "tool_choice.allowed_tools.tools", "1 to 128"),
    ({"tools": [NOW], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NOTE]}}},
     "tool_choice.allowed_tools.tools[0].custom.name", "'note'"),
    ({"tools": [NOW], "parallel_tool_calls": "no"}, "parallel_tool_calls", "true or false"),
    ({"functions": [NOW]}, "functions[0].function", "Unknown parameter"),
    ({"functions": [{"name": "f"}], "tools": [NOW]}, "functions", "send one of them"),
    ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call.name", "'g'"),
    ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call", "none, auto"),
    ({"function_call": {"name": "g"}}, "function_call", "needs tools"),
    ({"functions": [{"name": "f"}], "tool_choice": "required"}, "tool_choice", "only allowed together with 'tools'"),
    ({"tools": [NOW], "function_call": {"name": "now"}}, "function_call", "only allowed together with 'functions'"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "excerpt"), INVALID_FIELDS)
def test_an_invalid_field_is_rejected_with_its_path(post, chat, fields, param, excerpt):
    answer = post(**fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert excerpt in error["message"]
    assert chat.requests == []


# Messages


def test_calls_and_results_reach_the_chat_service(post, chat):
    messages = [
        *HELLO,
        assistant_message(call("a"), {"id": "b", "type": "custom", "custom": {"name": "note", "input": "hi"}}),
        tool_message("b"),
        tool_message("a", content=[{"type": "text", "text": "rain"}]),
        {"role": "assistant", "content": "Rain.", "tool_calls": []},
        {"role": "user", "content": "Again?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call("a")]},
        tool_message("a", name="get_weather"),
    ]
    assert post(messages=messages).status_code == 200
    assert chat.requests[0].messages[1:] == (
        Message("assistant", "", None, (
            ToolCall("a", "get_weather", "{}"), ToolCall("b", "note", "hi", "custom"))),
        Message("tool", "sunny", tool_call_id="b"),
        Message("tool", "rain", tool_call_id="a"),
        Message("assistant", "Rain."),
        Message("user", "Again?"),
        Message("assistant", "I look.", None, (ToolCall("a", "get_weather", "{}"),)),
        Message("tool", "sunny", "get_weather", tool_call_id="a"),
    )  # fmt: skip


def test_the_legacy_messages_are_equivalent(post, chat):
    tool_choice = {"name": "get_weather", "arguments": "{}"}
    messages = [
        *HELLO, {"role": "assistant", "content": None, "function_call": tool_choice},
        {"role": "function", "name": "get_weather", "content": "sunny"},
    ]  # fmt: skip
    assert post(messages=messages).status_code == 200
    assistant, tool = chat.requests[0].messages[1:]
    assert [(made.name, made.arguments) for made in assistant.tool_calls] == [("get_weather", "{}")]
    assert (tool.role, tool.content, tool.name) == ("tool", "sunny", "get_weather")
    assert tool.tool_call_id == assistant.tool_calls[0].id


INVALID_MESSAGES = [
    ([tool_message()], 1, "tool_call_id", "answers no call"),
    ([assistant_message(call()), tool_message("other")], 2, "tool_call_id", "'other'"),
    ([assistant_message(call()), tool_message(), tool_message()], 3, "tool_call_id", "answers no call"),
    ([assistant_message(call())], 1, "tool_calls[0]", "'call_1'"),
    ([assistant_message(call("a"), call("b")), tool_message("a"), *HELLO], 1, "tool_calls[1]", "'b'"),
    (
        [assistant_message(call("a"), call("b")), tool_message("b"), assistant_message(call("c")), tool_message("c")],
        1,
        "tool_calls[0]",
        "'a'",
    ),
    ([assistant_message(call()), tool_message(), *HELLO, tool_message()], 4, "tool_call_id", "answers no call"),
    ([assistant_message(call("a"), call("a"))], 1, "tool_calls[1].id", "another call"),
    ([{"role": "tool", "content": "x"}], 1, "tool_call_id", "is required"),
    ([assistant_message(call()), tool_message(content=None)], 2, "content", "is required"),
    ([{"role": "assistant", "content": None}], 1, "content", "is required"),
    ([assistant_message(call(), content=7), tool_message()], 1, "content", "a string"),
    ([assistant_message("x")], 1, "tool_calls[0]", "an object"),
    ([{"role": "assistant", "tool_calls": "x"}], 1, "tool_calls", "a list"),
    ([assistant_message(call(id=7))], 1, "tool_calls[0].id", "a string"),
    ([assistant_message(call(type="x"))], 1, "tool_calls[0].type", "function or custom"),
    ([assistant_message(call(index="0"))], 1, "tool_calls[0].index", "an integer"),
    ([assistant_message(call(number=0))], 1, "tool_calls[0].number", "Unknown parameter"),
    ([assistant_message(call(custom={"name": "f", "input": ""}))], 1, "tool_calls[0].custom", "Unknown parameter"),
    ([assistant_message(call(function={"name": "f"}))], 1, "tool_calls[0].function.arguments", "a string"),
    (
        [assistant_message(call(function={"name": "f", "arguments": {}}))],
        1,
        "tool_calls[0].function.arguments",
        "a string",
    ),
    (
        [assistant_message(call(function={"name": "a b", "arguments": "{}"}))],
        1,
        "tool_calls[0].function.name",
        "letters",
    ),
    (
        [assistant_message(call(function={"name": "f", "arguments": "{}", "parsed_arguments": {"a": 1}}))],
        1,
        "tool_calls[0].function.parsed_arguments",
        "differs from 'arguments'",
    ),
    ([assistant_message(call(), function_call={"name": "f", "arguments": "{}"})], 1, "function_call", "legacy form"),
    ([{"role": "function", "name": "f", "content": "x"}], 1, "name", "answers no call"),
    ([{"role": "user", "content": "x", "tool_calls": [call()]}], 1, "tool_calls", "role 'user'"),
    ([{"role": "system", "content": "x", "function_call": {}}], 1, "function_call", "role 'system'"),
]


@pytest.mark.parametrize(("messages", "index", "path", "excerpt"), INVALID_MESSAGES)
def test_calls_and_results_that_do_not_match_are_rejected_with_their_path(post, chat, messages, index, path, excerpt):
    answer = post(messages=[*HELLO, *messages])
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, f"messages[{index}].{path}")
    assert excerpt in error["message"]
    assert chat.requests == []


# Responses


def test_a_response_with_calls(post, calling_service):
    [choice] = post(tools=[WEATHER, NOTE]).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant", "content": "I look.", "refusal": None, "annotations": [],
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}},
            {"id": "call_2", "type": "custom", "custom": {"name": "note", "input": "a\nb"}},
        ],
    }  # fmt: skip


def test_absent_content_is_null_and_absent_calls_are_left_out(post, services, chat):
    message = post().json()["choices"][0]["message"]
    assert message.keys() == {"role", "content", "refusal", "annotations"}
    services["scripted"] = ScriptedChatService([CALL])
    assert post(tools=[WEATHER]).json()["choices"][0]["message"]["content"] is None
    services["scripted"] = ScriptedChatService([])
    assert post().json()["choices"][0]["message"]["content"] == ""


def read_choices(response):
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line)["choices"][0] for line in lines[:-1]]


def test_a_stream_with_calls(post, calling_service):
    chunk_choices = read_choices(post(tools=[WEATHER, NOTE], stream=True))
    assert [chunk_choice["delta"] for chunk_choice in chunk_choices] == [
        {"role": "assistant", "content": ""},
        {"content": "I look."},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                         "function": {"name": "get_weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Rome"}'}}]},
        {"tool_calls": [{"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "note", "input": ""}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "a\nb"}}]},
        {},
    ]  # fmt: skip
    assert [chunk_choice["finish_reason"] for chunk_choice in chunk_choices] == [None] * 6 + ["tool_calls"]


def test_a_stream_with_only_calls_has_no_content(post, services, chat):
    services["scripted"] = ScriptedChatService([CALL])
    assert all(
        "content" not in chunk_choice["delta"] for chunk_choice in read_choices(post(tools=[WEATHER], stream=True))
    )


def test_a_request_with_legacy_fields_gets_a_legacy_response(post, services, chat):
    services["scripted"] = ScriptedChatService([CALL])
    [choice] = post(functions=[WEATHER["function"]]).json()["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    assert "tool_calls" not in choice["message"]
    chunk_choices = read_choices(post(functions=[WEATHER["function"]], stream=True))
    assert [chunk_choice["delta"] for chunk_choice in chunk_choices[1:]] == [
        {"function_call": {"name": "get_weather", "arguments": ""}},
        {"function_call": {"arguments": '{"city": "Rome"}'}},
        {},
    ]
    assert chunk_choices[-1]["finish_reason"] == "function_call"


def test_the_official_client_reads_calls_and_sends_results(url, services, chat):
    services["scripted"] = ScriptedChatService(["I look.", CALL])
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
        message = client.chat.completions.create(model="scripted", messages=HELLO, tools=[WEATHER]).choices[0].message
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
        client.chat.completions.create(model="scripted", messages=[*HELLO, message, result], tools=[WEATHER])
    assert services["scripted"].requests[1].messages[1] == Message("assistant", "I look.", tool_calls=(CALL,))


def test_a_stored_conversation_has_calls_and_results(post, url, services, chat, store):
    services["scripted"] = ScriptedChatService(["I look.", CALL], store=store)
    id = store.create(title="t", model="scripted").id
    post(tools=[WEATHER], conversation_id=id)
    store.append(id, [Message("tool", "sunny", tool_call_id="call_1")])
    stored = httpx.get(f"{url}/v1/conversations/{id}").json()["messages"]
    assert [(m["role"], m["content"], m["tool_call_id"]) for m in stored] == [
        ("user", "Hello there", None), ("assistant", "I look.", None), ("tool", "sunny", "call_1")
    ]  # fmt: skip
    assert stored[1]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    assert stored[0]["tool_calls"] is None


def test_a_tool_that_is_not_strict_is_enforced_without_unsupported_keywords(post, chat):
    """zod 4 and MCP servers write such schemas. A response header lists the keywords that are not enforced."""
    properties = {"phone": {"type": "string", "format": "phone", "pattern": "^(?=[0-9])"},
                  "tags": {"type": "array", "uniqueItems": True}}  # fmt: skip
    schema = {"type": "object", "properties": properties, "propertyNames": {"type": "string"}}
    answer = post(tools=[NOW, function(parameters=schema)])
    assert answer.status_code == 200
    assert json.loads(f"[{answer.headers['x-not-enforced']}]") == [
        "tools[1].function.parameters.properties.phone.pattern",
        "tools[1].function.parameters.properties.tags.uniqueItems",
    ]
    tool = chat.requests[0].tools.definitions[1]
    assert tool.definition["function"]["parameters"] == schema
    assert "uniqueItems" not in tool.arguments_schema["properties"]["tags"]
    assert "x-not-enforced" not in post(tools=[NOW]).headers
    strict = post(tools=[function(parameters=schema, strict=True)])
    assert "x-not-enforced" not in strict.headers
    assert chat.requests[-1].tools.definitions[0].arguments_schema == schema


@pytest.mark.parametrize("parameters", [{}, {"type": "object"}, {"type": "object", "properties": None}, None])
def test_a_tool_without_parameters_may_be_declared_in_several_ways(post, chat, parameters):
    assert post(tools=[function(parameters=parameters)]).status_code == 200
    assert chat.requests[0].tools.definitions[0].arguments_schema["type"] == "object"


def test_128_tools_with_long_descriptions_are_accepted(post, chat):
    tools = [function(name=f"tool_{i}", description="word " * 400, parameters=SCHEMA) for i in range(128)]
    assert post(tools=tools).status_code == 200
    assert len(chat.requests[0].tools.definitions) == 128
