"""Every published request field is honoured or refused; the table of the client library is the witness."""

import json
from typing import get_args, get_type_hints

import httpx
import pytest
from openai.types.chat import completion_create_params as published

from turnwise.core.parameters import SPECS
from turnwise.server.fields import EXTENSIONS, HONOURED, UNSUPPORTED
from turnwise.server.protocol import CompletionRequest

PUBLISHED = get_type_hints(published.CompletionCreateParamsStreaming).keys()
OK = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}

# For every field that is not honoured: values that ask for something, one of them of every type a client may send.
ASKING = {
    "audio": [{"voice": "alloy", "format": "wav"}, {}],
    "frequency_penalty": [0.5, -2, False],
    "function_call": [{"name": "f"}, "f"],
    "functions": [[{"name": "f"}]],
    "logit_bias": [{"50256": -100}],
    "logprobs": [True, 0],
    "metadata": [{"a": "b"}],
    "modalities": [["text", "audio"], ["audio"], []],
    "moderation": [{}, True],
    "n": [2, 0, "1", True],
    "parallel_tool_calls": [False],
    "prediction": [{"type": "content", "content": "x"}],
    "presence_penalty": [1, "0"],
    "prompt_cache_key": ["k", ""],
    "prompt_cache_options": [{"mode": "explicit"}],
    "prompt_cache_retention": ["24h"],
    "reasoning_effort": ["low", "high"],
    "response_format": [{"type": "json_object"}, {"type": "text", "x": 1}],
    "safety_identifier": ["someone"],
    "service_tier": ["flex", "priority"],
    "store": [True, 0],
    "tool_choice": ["required", {"type": "function", "function": {"name": "f"}}],
    "tools": [[{"type": "function", "function": {"name": "f"}}]],
    "top_logprobs": [5],
    "verbosity": ["low", "high"],
    "web_search_options": [{}],
}


@pytest.fixture
def post(url):
    with httpx.Client(base_url=url) as client:
        yield lambda **fields: client.post("/v1/chat/completions", json={**OK, **fields})


def test_the_tables_cover_what_is_published_and_nothing_else():
    assert len(PUBLISHED) == 37
    assert HONOURED | UNSUPPORTED.keys() == PUBLISHED | EXTENSIONS
    assert HONOURED.isdisjoint(UNSUPPORTED)
    assert CompletionRequest.model_fields.keys() == PUBLISHED | EXTENSIONS
    assert ASKING.keys() == UNSUPPORTED.keys()


def test_every_generation_parameter_is_a_field_with_its_own_bounds_and_help():
    schema = CompletionRequest.model_json_schema()["properties"]
    for name, spec in SPECS.items():
        assert schema[name]["description"] == spec.help
        assert spec.many or schema[name].get("maximum") == spec.high


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ASKING.items() for value in values])
def test_an_unsupported_field_is_refused_by_name_with_a_reason(post, chat, name, value):
    answer = post(**{name: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (name, "unsupported_value", "invalid_request_error")
    assert UNSUPPORTED[name].why in error["message"]
    assert chat.turns == []


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, field in UNSUPPORTED.items() for value in (*field.passes, None)]
)
def test_a_value_that_asks_for_nothing_passes_and_changes_nothing(post, chat, name, value):
    assert post(**{name: value}).status_code == 200
    assert chat.turns[0].asked == {}


def test_null_counts_as_not_said_for_every_optional_field(post, chat):
    answer = post(**dict.fromkeys((PUBLISHED | EXTENSIONS) - {"model", "messages"}))
    assert answer.status_code == 200, answer.text
    assert chat.turns[0].asked == {}


SAMPLING = {"temperature": 0.5, "top_p": 0.25, "top_k": 3, "seed": 11, "stop": ["a", "b"], "max_tokens": 4}


def test_every_honoured_field_has_an_effect(post, chat, store):
    """The sampling fields reach the turn; each of the others is seen to do what it says."""
    assert SAMPLING.keys() == SPECS.keys()
    for name, value in SAMPLING.items():
        chat.turns.clear()
        assert post(**{name: value}).status_code == 200
        [asked] = [turn.asked for turn in chat.turns]
        assert asked == {name: tuple(value) if name == "stop" else value}
    chat.turns.clear()
    post(max_completion_tokens=9)
    post(max_completion_tokens=9, max_tokens=9)
    assert [turn.asked for turn in chat.turns] == [{"max_tokens": 9}] * 2

    id = store.create(title="t", model="scripted").id
    post(conversation_id=id)
    assert [kept.message.role for kept in store.get(id).messages] == ["user", "assistant"]

    messages = [*OK["messages"], {"role": "assistant", "content": "Once"}]
    post(messages=messages, continue_final_message=True)
    assert chat.turns[-1].continue_final

    assert post(stream=True).headers["content-type"].startswith("text/event-stream")
    with_usage = post(stream=True, stream_options={"include_usage": True}).text
    assert json.loads(with_usage.split("\n\n")[-3].removeprefix("data: "))["usage"]["completion_tokens"] == 4
    assert post(user="u" * 512).status_code == 200


def test_a_conversation_id_without_a_store_is_refused(post, chat):
    chat.store = None
    error = post(conversation_id="conv_1").json()["error"]
    assert (error["param"], error["code"]) == ("conversation_id", "unsupported_value")


def test_the_service_describes_itself(url):
    document = httpx.get(f"{url}/openapi.json").json()
    text = json.dumps(document)
    assert "422" not in text
    assert "HTTPValidationError" not in text
    schemas = document["components"]["schemas"]
    assert schemas["CompletionRequest"]["properties"].keys() == PUBLISHED | EXTENSIONS
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in schemas
    assert document["paths"].keys() >= {
        "/v1/chat/completions",
        "/v1/models",
        "/v1/conversations/{id}",
        "/v1/parameters",
    }


def test_the_parameters_are_served_for_the_page(url):
    served = {entry["name"]: entry for entry in httpx.get(f"{url}/v1/parameters").json()["data"]}
    assert served.keys() == SPECS.keys()
    assert served["top_p"] == {
        "name": "top_p", "type": "number", "help": SPECS["top_p"].help, "default": 1.0, "off": 1.0, "low": 0.0,
        "high": 1.0, "low_open": True, "optional": False, "many": False, "control": True,
    }  # fmt: skip


def test_literal_roles_of_the_library_are_all_judged():
    """A role that the published interface gains must be decided upon here."""
    roles = {get_args(get_type_hints(kind)["role"])[0] for kind in get_args(published.ChatCompletionMessageParam)}
    assert roles == {"system", "developer", "user", "assistant", "tool", "function"}
