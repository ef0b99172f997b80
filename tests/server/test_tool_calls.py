"""Tools with a real model and the official client. Arguments are valid at any temperature."""

import json
import re

import jsonschema
import openai
import pydantic
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

HELLO = [{"role": "user", "content": "Hello, what is the weather in Rome?"}]
PARAMETERS = {
    "get_weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 12},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
            "units": {"enum": ["C", "F"]},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "now": {"type": "object", "properties": {}, "additionalProperties": False},
}  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in PARAMETERS.items()]
QUERY = {"syntax": "regex", "definition": r'SELECT [a-z]{1,6}( FROM "[a-z]{1,4}")?'}
SUM = {"syntax": "lark", "definition": 'start: n ("+" n){1,2}\nn: /[1-9][0-9]{0,2}/'}
CUSTOM = [
    {"type": "custom", "custom": {"name": "query", "format": {"type": "grammar", "grammar": QUERY}}},
    {"type": "custom", "custom": {"name": "sum", "format": {"type": "grammar", "grammar": SUM}}},
]
MATCHES = {"query": QUERY["definition"], "sum": r"[1-9][0-9]{0,2}(\+[1-9][0-9]{0,2}){1,2}"}


@pytest.fixture(scope="module")
def client():
    with (
        open_chat_service() as service,
        serve_in_thread(create_app({"box": service}, default="box")) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as made,
    ):
        yield made


def create(client, **fields):
    return client.chat.completions.create(**{"model": "box", "messages": HELLO, "max_tokens": 200, **fields})


def assert_valid(call):
    """Assert that the arguments of a complete call are valid."""
    assert re.fullmatch("call_[0-9a-f]{24}", call.id)
    if call.type == "custom":
        assert re.fullmatch(MATCHES[call.custom.name], call.custom.input)
    else:
        jsonschema.validate(json.loads(call.function.arguments), PARAMETERS[call.function.name])


def named_choice(name):
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize("seed", range(8))
def test_required_calls_are_valid_at_temperature_2(client, seed):
    choice = create(
        client, tools=TOOLS + CUSTOM, tool_choice="required", temperature=2, seed=seed, max_tokens=120
    ).choices[0]
    assert choice.message.content is None
    assert choice.message.tool_calls
    complete_calls = choice.message.tool_calls[: None if choice.finish_reason == "tool_calls" else -1]
    for call in complete_calls:
        assert_valid(call)


@pytest.mark.parametrize("seed", range(3))
def test_a_single_call_is_exactly_one_call(client, seed):
    for fields in (
        {"tool_choice": "required", "parallel_tool_calls": False},
        {"tool_choice": named_choice("get_weather")},
    ):
        choice = create(client, tools=TOOLS, temperature=2, seed=seed, **fields).choices[0]
        [call] = choice.message.tool_calls
        assert_valid(call)
        assert choice.finish_reason == "tool_calls"
    assert call.function.name == "get_weather"


@pytest.mark.parametrize("name", ["query", "sum"])
def test_the_input_of_a_custom_tool_follows_its_grammar(client, name):
    choice = {"type": "custom", "custom": {"name": name}}
    for seed in range(3):
        [call] = (
            create(client, tools=CUSTOM, tool_choice=choice, temperature=2, seed=seed).choices[0].message.tool_calls
        )
        assert call.custom.name == name
        assert_valid(call)


def test_only_allowed_tools_are_called(client):
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named_choice("now")]}}
    choice = create(client, tools=TOOLS, tool_choice=allowed, temperature=2, parallel_tool_calls=False).choices[0]
    assert [(call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [("now", "{}")]


def test_auto_allows_text_and_none_forbids_calls(client):
    for choice in ("auto", "none"):
        answer = create(client, tools=TOOLS, tool_choice=choice, temperature=0).choices[0]
        assert answer.message.content
        assert answer.message.tool_calls is None
        assert answer.finish_reason == "stop"
    assert create(client, tools=TOOLS, tool_choice="none").usage.prompt_tokens == create(client).usage.prompt_tokens


# Streaming


def collect_stream(client, answers, **fields):
    choices = [{"content": "", "calls": [], "finish": None} for _ in range(answers)]
    for chunk in create(client, stream=True, n=answers, **fields):
        for chunk_choice in chunk.choices:
            choice_state = choices[chunk_choice.index]
            assert choice_state["finish"] is None, "nothing follows the end of an answer"
            choice_state["content"] += chunk_choice.delta.content or ""
            for call_delta in chunk_choice.delta.tool_calls or []:
                call_body = call_delta.function.model_dump() if call_delta.function else call_delta.custom
                if call_delta.id:
                    assert call_delta.index == len(choice_state["calls"])
                    assert call_body.get("arguments", call_body.get("input")) == ""
                    choice_state["calls"].append([call_delta.type, call_body["name"], ""])
                else:
                    assert call_delta.type is None
                    assert call_body.get("name") is None
                    choice_state["calls"][call_delta.index][2] += (
                        call_body.get("arguments") or call_body.get("input") or ""
                    )
            choice_state["finish"] = chunk_choice.finish_reason
    return choices


@settings(max_examples=25, deadline=None)
@given(
    answers=st.integers(1, 3),
    fields=st.fixed_dictionaries(
        {"seed": st.integers(0, 2**40), "temperature": st.floats(0, 2), "max_tokens": st.integers(1, 90),
         "tool_choice": st.sampled_from(["auto", "required", "none", named_choice("get_weather")])},
        optional={
            "parallel_tool_calls": st.booleans(),
            "logprobs": st.just(True),
            "stop": st.lists(st.sampled_from(["!", " a", "e", "city", "<tool_call>", "{"]), min_size=1, max_size=3),
        },
    ),
)  # fmt: skip
def test_a_stream_has_the_same_content_as_the_response(client, answers, fields):
    response = create(client, n=answers, tools=TOOLS + CUSTOM, **fields)
    choices = collect_stream(client, answers, tools=TOOLS + CUSTOM, **fields)
    for choice, choice_state in zip(response.choices, choices, strict=True):
        call_body = [
            call.function if call.type == "function" else call.custom for call in choice.message.tool_calls or []
        ]
        calls = [(t.name, getattr(t, "arguments", None) or getattr(t, "input", "")) for t in call_body]
        assert (choice.message.content or "") == choice_state["content"]
        assert calls == [(name, arguments) for _, name, arguments in choice_state["calls"]]
        assert choice.finish_reason == choice_state["finish"]
        assert (choice.finish_reason == "tool_calls") <= bool(calls)
        assert "<tool_call>" not in choice_state["content"]
        for call in choice.message.tool_calls[:-1] if calls else []:
            assert_valid(call)
        if fields.get("logprobs") and not fields.get("stop"):
            reported = choice.logprobs.content if choice.logprobs else []
            assert b"".join(bytes(e.bytes or []) for e in reported).decode(errors="replace") == choice_state["content"]


def test_the_stream_helper_of_the_client_accumulates_calls(client):
    tools = [openai.pydantic_function_tool(Weather)]
    arguments = {"model": "box", "messages": HELLO, "tools": tools, "tool_choice": named_choice("Weather"), "seed": 3}
    with client.chat.completions.stream(**arguments, temperature=2, max_tokens=300) as stream:
        deltas = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        [call] = stream.get_final_completion().choices[0].message.tool_calls
    assert "".join(event.arguments_delta for event in deltas) == call.function.arguments
    assert len(deltas) > 3
    assert isinstance(call.function.parsed_arguments, Weather)


# Tool loops


class Weather(pydantic.BaseModel):
    city: str = pydantic.Field(max_length=10)
    days: int = pydantic.Field(ge=1, le=3)
    rain: bool | None


def test_parse_returns_arguments_of_the_class_and_the_message_is_accepted_as_input(client):
    tools = [openai.pydantic_function_tool(Weather)]
    arguments = {"model": "box", "tools": tools, "temperature": 2, "max_tokens": 300}
    message = (
        client.chat.completions.parse(messages=HELLO, tool_choice=named_choice("Weather"), **arguments)
        .choices[0]
        .message
    )
    [call] = message.tool_calls
    assert isinstance(call.function.parsed_arguments, Weather)
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    following = client.chat.completions.create(messages=[*HELLO, message, result], tool_choice="none", **arguments)
    assert following.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_a_loop_of_calls_and_results_at_temperature_2(client, stream):
    messages = list(HELLO)
    for step, choice in enumerate(["required", "required", "none"]):
        fields = {"messages": messages, "tools": TOOLS, "tool_choice": choice, "temperature": 2, "seed": step,
                  "parallel_tool_calls": False}  # fmt: skip
        if stream and choice != "none":
            with client.chat.completions.stream(model="box", max_tokens=200, **fields) as events:
                message = events.get_final_completion().choices[0].message
        else:
            message = create(client, **fields).choices[0].message
        messages.append(message.model_dump(exclude_unset=True, exclude={"parsed"}))
        for call in message.tool_calls or []:
            assert_valid(call)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
            for made in messages[-2]["tool_calls"]:
                made["function"].pop("parsed_arguments", None)
                made.pop("index", None)
    assert messages[-1]["content"]
    assert sum(message["role"] == "tool" for message in messages) == 2


def test_a_response_format_works_together_with_tools(client):
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["a"],
              "additionalProperties": False}  # fmt: skip
    format = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    for seed in range(6):
        choice = create(client, tools=TOOLS, response_format=format, temperature=2, seed=seed).choices[0]
        if choice.message.tool_calls:
            assert choice.message.content is None
        else:
            jsonschema.validate(json.loads(choice.message.content), schema)


def test_the_legacy_fields_return_one_call(client):
    function = TOOLS[0]["function"]
    choice = create(client, functions=[function], function_call={"name": "get_weather"}, temperature=2).choices[0]
    jsonschema.validate(json.loads(choice.message.function_call.arguments), PARAMETERS["get_weather"])
    assert choice.finish_reason == "function_call"
    messages = [*HELLO, choice.message, {"role": "function", "name": "get_weather", "content": "sunny"}]
    assert create(client, messages=messages, functions=[function], function_call="none").choices[0].message.content


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {
            "type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}}}]},
         "tools[0].function.parameters"),
        ({"tools": [{"type": "custom", "custom": {"name": "f", "format": {
            "type": "grammar", "grammar": {"syntax": "regex", "definition": "("}}}}]},
         "tools[0].custom.format.grammar.definition"),
        ({"tools": [{"type": "function", "function": {"name": "f", "description": "<|end|>"}}]}, "tools"),
        ({"tools": TOOLS, "extra_body": {"guided_regex": "a+"}}, "guided_regex"),
        ({"tools": TOOLS, "extra_body": {"ignore_eos": True}}, "ignore_eos"),
    ],
)  # fmt: skip
def test_an_invalid_field_is_rejected_with_its_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as error:
        create(client, **fields)
    assert error.value.body["param"] == param


# Schemas

leaves = st.sampled_from([
    {"type": "boolean"}, {"type": "null"}, {"type": "integer", "minimum": -5, "maximum": 99}, {"const": "x y"},
    {"type": "string", "maxLength": 5}, {"enum": ["a\n", '"', 3]},
    {"type": "string", "pattern": "^[A-Z]{2}</tool_call>$"},
])  # fmt: skip
objects = st.dictionaries(st.sampled_from(["a", "the name", "größe"]), leaves, max_size=3).map(
    lambda properties: {
        "type": "object", "properties": properties, "required": sorted(properties)[:2], "additionalProperties": False
    }
)  # fmt: skip
schemas = st.dictionaries(
    st.sampled_from(["a", "b", "arguments", "name"]),
    st.one_of(leaves, objects, objects.map(lambda items: {"type": "array", "items": items, "maxItems": 2})),
    max_size=3,
).map(
    lambda properties: {
        "type": "object", "properties": properties, "required": sorted(properties)[:1], "additionalProperties": False
    }
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(first_schema=schemas, second_schema=schemas, seed=st.integers(0, 1000))
def test_arguments_are_valid_against_any_schema_at_temperature_2(client, first_schema, second_schema, seed):
    tools = [named_choice("first"), named_choice("second")]
    for tool, schema in zip(tools, (first_schema, second_schema), strict=True):
        tool["function"] = {**tool["function"], "parameters": schema}
    try:
        choice = create(client, tools=tools, tool_choice="required", temperature=2, seed=seed, max_tokens=120).choices[
            0
        ]
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded"  # noqa: PT017 - long definitions are not what this is about
        reject()
    calls = choice.message.tool_calls or []  # the limit may end the answer before the first name
    if choice.finish_reason == "length":
        calls = calls[:-1]  # the limit cuts the last call off
    for call in calls:
        schema = first_schema if call.function.name == "first" else second_schema
        jsonschema.validate(json.loads(call.function.arguments), schema)
