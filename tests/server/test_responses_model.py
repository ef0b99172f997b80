"""Responses of a real model."""

import json
import time

import httpx
import openai
import pydantic
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.server.middleware.concurrency_limit import ServerLimits
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

LOGPROBS = "message.output_text.logprobs"


@pytest.fixture(scope="module")
def url():
    store = open_store("sqlite:///:memory:")
    with open_chat_service(store=store) as service, serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield url
    store.close()


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as made:
        yield made


def test_the_answer_equals_that_of_chat_completions(client):
    arguments = {"model": "box", "temperature": 0}
    messages = [{"role": "system", "content": "You are Turnwise."}, {"role": "user", "content": "Tell me a joke"}]
    chat = client.chat.completions.create(messages=messages, max_tokens=40, **arguments)
    fields = {"instructions": messages[0]["content"], "input": messages[1]["content"], "max_output_tokens": 40}
    response = client.responses.create(**fields, **arguments)
    assert response.output_text == chat.choices[0].message.content
    assert (response.usage.input_tokens, response.usage.output_tokens) == (
        chat.usage.prompt_tokens, chat.usage.completion_tokens,
    )  # fmt: skip
    events = list(client.responses.create(**fields, **arguments, stream=True))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == response.output_text
    assert events[-1].response.usage.input_tokens_details.cached_tokens > 0, "the prompt was read before"


def test_logprobs_equal_those_of_chat_completions(client):
    arguments = {"model": "box", "temperature": 0, "max_output_tokens": 8}
    events = list(client.responses.create(input="Hello", include=[LOGPROBS], top_logprobs=2, stream=True, **arguments))
    [message] = events[-1].response.output
    [content_part] = message.content
    assert "".join(entry.token for entry in content_part.logprobs) == content_part.text
    assert all(len(entry.top_logprobs) == 2 and entry.logprob <= 0 for entry in content_part.logprobs)
    deltas = [entry for e in events if e.type == "response.output_text.delta" for entry in e.logprobs]
    assert [(entry.token, entry.logprob) for entry in deltas] == [
        (entry.token, entry.logprob) for entry in content_part.logprobs
    ]
    bare = client.responses.create(input="Hello", **arguments)
    assert bare.output[0].content[0].logprobs == []


class Weather(pydantic.BaseModel):
    """The weather of a city."""

    city: str = pydantic.Field(max_length=12)
    days: int = pydantic.Field(ge=1, le=7)


def test_structured_output_is_enforced(client):
    parsed = client.responses.parse(model="box", input="Rome, 3 days", text_format=Weather)
    assert parsed.output_parsed == Weather.model_validate_json(parsed.output_text)
    loose = client.responses.create(
        model="box", input="Hi", text={"format": {"type": "json_object"}}, temperature=1.5, max_output_tokens=200,
        extra_body={"guided_regex": None},
    )  # fmt: skip
    if loose.status == "completed":
        assert isinstance(json.loads(loose.output_text), dict)
    bad = {"type": "json_schema", "name": "x", "schema": {"$ref": "#/nowhere"}}
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="box", input="Hi", text={"format": bad})
    assert error.value.param == "text.format"


def test_a_tool_is_called_and_answered_through_the_store(client):
    tool = openai.pydantic_function_tool(Weather)["function"]
    tools = [{"type": "function", **tool}]
    with client.responses.stream(
        model="box", input="The weather in Rome?", tools=tools, tool_choice="required", parallel_tool_calls=False,
    ) as stream:  # fmt: skip
        first = stream.get_final_response()
    [call] = first.output
    Weather.model_validate_json(call.arguments)
    assert call.parsed_arguments == Weather.model_validate_json(call.arguments) or call.parsed_arguments
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(
        model="box", input=[output], previous_response_id=first.id, tools=tools, tool_choice="none",
        max_output_tokens=20,
    )  # fmt: skip
    assert second.output[0].type == "message"


def test_an_input_longer_than_the_context_is_rejected(client):
    long = "word " * 9000
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="box", input=long, truncation="disabled")
    assert (error.value.code, error.value.param) == ("context_length_exceeded", "input")
    items = [{"role": "user", "content": "word " * 2000}, {"role": "assistant", "content": "ok"}] * 5
    items.append({"role": "user", "content": "Hello"})
    fitted = client.responses.create(model="box", input=items, truncation="auto", max_output_tokens=5)
    assert fitted.to_dict()["context"]["dropped_messages"] > 0


def test_responses_are_counted_and_limited_like_completions():
    slow = ScriptedChatService(["x"] * 1000, delay=0.02)
    with serve_in_thread(create_app({"s": slow}, default="s", limits=ServerLimits(max_concurrent_requests=1))) as url:
        body = {"model": "s", "input": "Hi", "stream": True}
        with httpx.stream("POST", f"{url}/v1/responses", json=body, timeout=30) as stream:
            lines = stream.iter_lines()  # a garbage-collected response would close the connection
            next(lines)
            refused = httpx.post(f"{url}/v1/responses", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "server_busy")
        deadline = time.monotonic() + 20
        while not slow.num_cancelled and time.monotonic() < deadline:
            time.sleep(0.02)
        assert slow.num_cancelled == 1, "a client that leaves frees its slot"
        assert slow.num_chunks < 1000
        metrics = httpx.get(f"{url}/metrics").text
        assert 'finish="cancelled"' in metrics
