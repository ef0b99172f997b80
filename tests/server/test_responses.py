"""`/v1/responses` with the official client. Objects and events are validated with the published types of the client."""

import asyncio
import json

import httpx
import openai
import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from turnwise.core.messages import Message, ToolCall
from turnwise.core.tools import ToolChoice
from turnwise.testing import ScriptedChatService

EVENT = pydantic.TypeAdapter(ResponseStreamEvent)
TOOL = {
    "type": "function", "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}  # fmt: skip


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        yield made


def answer_with(services, store, *script, **more):
    """Set the script that the server answers with; returns the chat service."""
    services["scripted"] = ScriptedChatService(script, store=store, **more)
    return services["scripted"]


def create(url, **fields):
    response = httpx.post(f"{url}/v1/responses", json={"model": "scripted", "input": "Hello there", **fields})
    assert response.status_code == 200, response.text
    Response.model_validate(response.json())
    return response.json()


def events(url, **fields):
    """Return the events of a stream, validated with their published types."""
    body = {"model": "scripted", "input": "Hello there", "stream": True, **fields}
    response = httpx.post(f"{url}/v1/responses", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    stream_events = []
    for block in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENT.validate_python(event)
        stream_events.append(event)
    assert [event["sequence_number"] for event in stream_events] == list(range(len(stream_events)))
    return stream_events


def types(stream_events):
    return [event["type"].removeprefix("response.") for event in stream_events]


def rejected(url, **fields):
    response = httpx.post(f"{url}/v1/responses", json={"model": "scripted", "input": "Hello there", **fields})
    assert response.status_code == 400, response.text
    return response.json()["error"]


def test_a_response_has_all_published_fields(client, chat):
    response = client.responses.create(model="latest", input="Hello there", instructions="Be kind.", temperature=0.5)
    assert response.id.startswith("resp_")
    assert (response.object, response.status, response.model) == ("response", "completed", "scripted")
    assert response.output_text == "Hello, you."
    [message] = response.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    assert message.content[0].annotations == []
    assert response.usage.model_dump(exclude_none=True) == {
        "input_tokens": 4, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 8,
    }  # fmt: skip
    assert response.completed_at >= response.created_at
    assert response.error is response.incomplete_details is response.previous_response_id is None
    [chat_request] = chat.requests
    assert chat_request.messages == (Message("system", "Be kind."), Message("user", "Hello there"))
    assert chat_request.sampling == {"temperature": 0.5}


def test_the_settings_of_the_request_are_returned(url, services, store):
    answer_with(services, store, "x", defaults={"top_p": 0.75})
    sent = {
        "instructions": "Be kind.", "max_output_tokens": 9, "max_tool_calls": 3, "metadata": {"a": "b"},
        "temperature": 0,
        "parallel_tool_calls": False, "prompt_cache_key": "k", "safety_identifier": "s" * 128, "user": "u",
        "reasoning": {"effort": "none"}, "text": {"format": {"type": "json_object"}, "verbosity": "medium"},
        "tool_choice": {"type": "function", "name": "weather"}, "tools": [TOOL], "top_logprobs": 2,
        "truncation": "auto",
        "service_tier": "auto", "background": False, "stream": False, "include": ["reasoning.encrypted_content"],
    }  # fmt: skip
    body = create(url, **sent)
    back = {name: body[name] for name in sent if name in body}
    assert back == {name: value for name, value in sent.items() if name in body} | {
        "reasoning": {"effort": "none", "summary": None}, "service_tier": "default",
        "tools": [{**TOOL, "description": None, "strict": True}],
    }  # fmt: skip
    assert body["top_p"] == 0.75, "the model's own default where the request has none"
    assert sent.keys() - body.keys() == {"stream", "include"}
    bare = create(url)
    assert (bare["truncation"], bare["tool_choice"], bare["tools"], bare["parallel_tool_calls"], bare["store"]) == (
        "disabled", "auto", [], True, True,
    )  # fmt: skip
    assert bare["text"] == {"format": {"type": "text"}, "verbosity": "medium"}


def test_null_is_the_same_as_an_absent_field(url):
    published = openai.types.responses.response_create_params.ResponseCreateParamsStreaming.__annotations__
    nulls = {name: None for name in published if name not in ("model", "input")}
    assert len(nulls) > 30
    assert create(url, **nulls)["output"][0]["content"][0]["text"] == "Hello, you."


def test_the_events_of_a_text(url):
    stream_events = events(url)
    assert types(stream_events) == [
        "created", "in_progress", "output_item.added", "content_part.added",
        *["output_text.delta"] * 4,
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event["delta"] for event in stream_events if "delta" in event] == ["Hello", ", ", "you", "."]
    assert stream_events[0]["response"]["status"] == stream_events[1]["response"]["status"] == "in_progress"
    assert stream_events[0]["response"]["output"] == []
    last = stream_events[-1]["response"]
    assert last["status"] == "completed"
    assert last["output"] == [stream_events[-2]["item"]]
    assert last["output"][0]["content"] == [stream_events[-3]["part"]]
    assert stream_events[-4]["text"] == "Hello, you."
    assert {event.get("item_id", last["output"][0]["id"]) for event in stream_events} == {last["output"][0]["id"]}
    response = create(url)
    changing = {"id", "created_at", "completed_at", "output"}
    assert {k: v for k, v in last.items() if k not in changing} == {
        k: v for k, v in response.items() if k not in changing
    }


def test_the_events_of_a_text_with_calls_after_it(url, services, store):
    calls = [ToolCall("call_1", "weather", '{"city": "Rome"}'), ToolCall("call_2", "note", "ciao", "custom")]
    answer_with(services, store, "Let me ", "see.", *calls)
    fields = {"tools": [TOOL, {"type": "custom", "name": "note"}]}
    stream_events = events(url, **fields)
    assert types(stream_events) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert [e["output_index"] for e in stream_events if "output_index" in e] == [0] * 7 + [1] * 4 + [2] * 4
    message, function, custom = stream_events[-1]["response"]["output"]
    assert message["content"][0]["text"] == "Let me see."
    assert (function["call_id"], function["name"], function["arguments"]) == ("call_1", "weather", '{"city": "Rome"}')
    assert (custom["call_id"], custom["name"], custom["input"]) == ("call_2", "note", "ciao")
    assert len({item["id"] for item in (message, function, custom)}) == 3
    added = next(e for e in stream_events if e["type"] == "response.output_item.added" and e["output_index"] == 1)
    assert (added["item"]["arguments"], added["item"]["status"]) == ("", "in_progress")
    response = create(url, **fields)["output"]
    assert [item | {"id": 0} for item in response] == [item | {"id": 0} for item in (message, function, custom)]


def test_an_answer_without_text_is_an_empty_message(url, services, store):
    answer_with(services, store)
    assert types(events(url))[2:] == [
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done", "completed",
    ]  # fmt: skip
    assert create(url)["output"][0]["content"][0]["text"] == ""


def test_the_token_limit_makes_a_response_incomplete(url, services, store):
    answer_with(services, store, "Half a", ToolCall("call_1", "weather", '{"ci'), finish="length")
    for body in (create(url, tools=[TOOL]), events(url, tools=[TOOL])[-1]["response"]):
        assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert [item["status"] for item in body["output"]] == ["completed", "incomplete"]
        assert body["output"][1]["arguments"] == '{"ci'
        assert body["completed_at"] is None
    assert types(events(url, tools=[TOOL]))[-1] == "incomplete"


def test_a_failure_of_the_model_fails_the_response(url, services, store):
    answer_with(services, store, "One", "two", fail_after=1, failure=RuntimeError("secret"))
    stream_events = events(url)
    assert types(stream_events)[-1] == "failed"
    assert stream_events[-1]["response"]["error"]["code"] == "server_error"
    assert "secret" not in json.dumps(stream_events)
    assert stream_events[-1]["response"]["output"][0]["content"][0]["text"] == "One"
    answer_with(services, store, "One", fail_after=0, failure=RuntimeError("secret"))
    response = httpx.post(f"{url}/v1/responses", json={"model": "scripted", "input": "x", "stream": True})
    assert response.status_code == 500, "an error before the first piece has its own status"


def test_the_stream_helper_of_the_client_accumulates_the_response(client, services, store):
    answer_with(services, store, "Hi ", "you", ToolCall("call_1", "weather", '{"city": "Rome"}'))
    with client.responses.stream(model="scripted", input="x", tools=[TOOL | {"strict": True}]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert final.output_text == "Hi you"
    assert final.output[1].arguments == '{"city": "Rome"}'


def test_the_async_client_works(url):
    async def run_client():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
            response = await client.responses.create(model="scripted", input="x")
            stream = await client.responses.create(model="scripted", input="x", stream=True)
            return response.output_text, "".join(
                [e.delta async for e in stream if e.type == "response.output_text.delta"]
            )

    assert asyncio.run(run_client()) == ("Hello, you.", "Hello, you.")


def test_obfuscation_pads_the_deltas(url):
    stream_events = events(url, stream_options={"include_obfuscation": True})
    assert {("delta" in event) == bool("obfuscation" in event) for event in stream_events} == {True}
    assert "obfuscation" not in json.dumps(events(url, stream_options={"include_obfuscation": False}))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"include": ["everything"]}, "include[0]"),
        ({"truncation": "none"}, "truncation"),
        ({"truncation": "auto", "context_policy": "refuse"}, "context_policy"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"verbosity": "huge"}}, "text.verbosity"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"temperature": 2.1}, "temperature"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"safety_identifier": "s" * 129}, "safety_identifier"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "n" * 129}]}, "tools[0].name"),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [TOOL, TOOL]}, "tools[1]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, "tool_choice.type"),
    ],
)
def test_an_unsupported_field_is_rejected_with_its_name(url, fields, param):
    error = rejected(url, **fields)
    assert error["param"] == param
    assert param.split(".")[-1].split("[")[0] in error["message"]


def test_tools_and_tool_choice_reach_the_chat_service(url, chat):
    lark = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}
    tools = [TOOL | {"name": "n" * 128, "description": "d"}, {"type": "custom", "name": "note", "format": lark}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "note"}]}
    create(url, tools=tools, tool_choice=choice, parallel_tool_calls=False)
    [chat_request] = chat.requests
    assert [(tool.kind, tool.name, tool.syntax) for tool in chat_request.tools.definitions] == [
        ("function", "n" * 128, "text"), ("custom", "note", "lark"),
    ]  # fmt: skip
    assert chat_request.tools.definitions[0].definition["function"]["description"] == "d"
    assert chat_request.tools.choice == ToolChoice("required", ("note",))
    assert chat_request.tools.parallel_calls is False
    error = rejected(url, tools=[{"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "bnf"}}])
    assert error["param"] == "tools[0].format.syntax"


def test_truncation_sets_the_context_policy(url, chat):
    for truncation in ("auto", "disabled", None):
        assert create(url, truncation=truncation)["truncation"] == (truncation or "disabled")
    assert [chat_request.context.policy for chat_request in chat.requests] == ["drop_oldest", "refuse", None]
    assert create(url, context_policy="summarise")["truncation"] == "auto"


def test_include_requests_logprobs(url, chat):
    create(url, include=["message.output_text.logprobs"], top_logprobs=3)
    create(url, top_logprobs=2)
    create(url, include=["reasoning.encrypted_content"])
    assert [chat_request.sampling for chat_request in chat.requests] == [
        {"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 2}, {},
    ]  # fmt: skip
