"""`/v1/responses/input_tokens`: the number of prompt tokens of a response."""

import httpx
import openai
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import serve_in_thread

TOOL = {
    "type": "function", "name": "get_weather", "strict": True,
    "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"],
        "additionalProperties": False,
    },
}  # fmt: skip
CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Rome"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
ASK = {"role": "user", "content": "The weather in Rome?"}
LONG = [{"role": role, "content": "word " * 150} for role in ("user", "assistant") * 5]


@pytest.fixture(scope="module")
def url():
    store = open_store("sqlite:///:memory:")
    with open_chat_service(store=store) as service, serve_in_thread(create_app({"box": service}, default="box")) as url:
        yield url
    store.close()


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "Hello"},
        {"input": "Hello", "instructions": "You are Turnwise."},
        {"input": [ASK, CALL, OUTPUT], "tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
        {"input": [*LONG, ASK], "truncation": "auto"},
    ],
    ids=["text", "instructions", "tools", "truncation"],
)
def test_the_count_equals_the_usage_of_the_response(client, fields):
    counted = client.responses.input_tokens.count(model="box", **fields)
    response = client.responses.create(model="box", max_output_tokens=4, **fields)
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == response.usage.input_tokens


def test_the_stored_conversation_is_included(client):
    first = client.responses.create(model="box", input="Hello", max_output_tokens=8)
    fields = {"model": "box", "input": "And then?", "previous_response_id": first.id}
    counted = client.responses.input_tokens.count(**fields).input_tokens
    assert counted == client.responses.create(max_output_tokens=4, **fields).usage.input_tokens
    assert counted > client.responses.input_tokens.count(input="And then?").input_tokens, "the model has a default"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": LONG}, "input", "context_length_exceeded"),
        ({}, "input", None),
        ({"input": "Hello", "conversation": "conv_1"}, "conversation", "unsupported_value"),
        ({"input": "Hello", "personality": "friendly"}, "personality", "unsupported_value"),
        ({"input": "Hello", "max_output_tokens": 5}, "max_output_tokens", None),
        ({"input": "Hello", "previous_response_id": "resp_1"}, "previous_response_id", "previous_response_not_found"),
        ({"input": [CALL]}, "input[0]", None),
        ({"input": "Hello", "tool_choice": "required"}, "tool_choice", None),
    ],
)
def test_a_request_that_responses_reject_is_rejected(url, fields, param, code):
    answer = httpx.post(f"{url}/v1/responses/input_tokens", json=fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert code in (None, error["code"])


def test_a_key_cannot_count_the_conversations_of_another(chat, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    mine, theirs = keys.create("a"), keys.create("b")
    with (
        serve_in_thread(create_app({"scripted": chat}, default="scripted", keys=keys)) as url,
        httpx.Client(base_url=f"{url}/v1") as http,
    ):
        headers = {"Authorization": f"Bearer {mine}"}
        first = http.post("/responses", json={"model": "scripted", "input": "Two words"}, headers=headers).json()
        body = {"input": "One", "previous_response_id": first["id"]}
        assert http.post("/responses/input_tokens", json=body, headers=headers).json() == {
            "object": "response.input_tokens", "input_tokens": 5,
        }  # fmt: skip
        refused = http.post("/responses/input_tokens", json=body, headers={"Authorization": f"Bearer {theirs}"})
        assert refused.json()["error"]["code"] == "previous_response_not_found"
