"""Every request field that the official client library declares is supported or rejected."""

import json
from operator import attrgetter
from typing import get_args, get_type_hints

import httpx
import pytest
from openai.types.chat import completion_create_params as published

from turnwise.core.chat_request import ResponseFormat
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.core.tools import ToolChoice
from turnwise.server.app import create_app
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.unsupported_fields import CHAT_UNSUPPORTED_FIELDS
from turnwise.testing import serve_in_thread

PUBLISHED = get_type_hints(published.CompletionCreateParamsStreaming).keys()
EXTENSION_FIELDS = {
    "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size", "min_tokens", "num_beams",
    "penalty_alpha", "num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping", "best_of",
    "stop_token_ids", "ignore_eos", "bad_words", "guided_regex", "guided_grammar", "guided_choice",
    "chat_template_kwargs", "scenario", "knowledge", "priority", "echo", "conversation_id", "continue_final_message",
    "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "context_policy", "sampling_preset",
    "collect", "answer_tokens", "background", "beam_tree",
}  # fmt: skip
F = {"name": "f", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": F}]
OK = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}

# Values with an effect for every unsupported field, in every type that a client may send.
UNSUPPORTED_VALUES = {
    "audio": [{"voice": "alloy", "format": "wav"}, {}],
    "modalities": [["text", "audio"], ["audio"], []],
    "moderation": [{}, True],
    "prompt_cache_options": [{"mode": "explicit"}],
    "prompt_cache_retention": ["24h"],
    "service_tier": ["flex", "priority"],
    "web_search_options": [{}],
}


@pytest.fixture
def post(url):
    with httpx.Client(base_url=url) as client:
        yield lambda **fields: client.post("/v1/chat/completions", json={**OK, **fields})


def test_the_fields_are_the_published_ones_and_the_extensions():
    assert len(PUBLISHED) == 37
    assert EXTENSION_FIELDS.isdisjoint(PUBLISHED)
    assert ChatCompletionRequest.model_fields.keys() == PUBLISHED | EXTENSION_FIELDS
    assert UNSUPPORTED_VALUES.keys() == CHAT_UNSUPPORTED_FIELDS.keys()


def test_every_generation_parameter_is_a_field_with_its_bounds_and_description():
    schema = ChatCompletionRequest.model_json_schema()["properties"]
    for name, spec in PARAMETER_SPECS.items():
        assert schema[name]["description"] == spec.description
        assert spec.is_list or spec.kind is dict or schema[name].get("maximum") == spec.maximum


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in UNSUPPORTED_VALUES.items() for value in values]
)
def test_an_unsupported_field_is_rejected_with_its_name_and_a_reason(post, chat, name, value):
    answer = post(**{name: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (name, "unsupported_value", "invalid_request_error")
    assert CHAT_UNSUPPORTED_FIELDS[name].reason in error["message"]
    assert chat.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, field in CHAT_UNSUPPORTED_FIELDS.items() for value in (*field.neutral_values, None)],
)
def test_a_neutral_value_of_an_unsupported_field_is_accepted_without_effect(post, chat, name, value):
    assert post(**{name: value}).status_code == 200
    assert chat.requests[0].sampling == {}


def test_null_is_the_same_as_an_absent_field(post, chat):
    answer = post(**dict.fromkeys((PUBLISHED | EXTENSION_FIELDS) - {"model", "messages"}))
    assert answer.status_code == 200, answer.text
    assert chat.requests[0].sampling == {}


CHAT_SAMPLING_FIELDS = {
    "temperature": 0.5, "top_p": 0.25, "top_k": 3, "min_p": 0.1, "typical_p": 0.9, "seed": 11, "stop": ["a", "b"],
    "max_tokens": 4, "presence_penalty": 0.5, "frequency_penalty": -1, "repetition_penalty": 1.2, "min_tokens": 2,
    "no_repeat_ngram_size": 3, "logit_bias": {"5": -100}, "bad_words": ["x"], "stop_token_ids": [7],
    "penalty_alpha": 0.6, "ignore_eos": True, "logprobs": True, "top_logprobs": 2, "num_beams": 4, "num_beam_groups": 2,
    "diversity_penalty": 0.5, "length_penalty": 0.8, "early_stopping": "never",
    "epsilon_cutoff": 0.01, "eta_cutoff": 0.02, "top_n_sigma": 1.5,
}  # fmt: skip
CHECKED = {"stop": ("a", "b"), "logit_bias": ((5, -100.0),), "bad_words": ("x",), "stop_token_ids": (7,)}


def test_every_supported_field_has_an_effect(post, chat, store):
    """Generation parameters reach the chat request; the effect of every other field is checked separately."""
    assert CHAT_SAMPLING_FIELDS.keys() == PARAMETER_SPECS.keys()
    for name, value in CHAT_SAMPLING_FIELDS.items():
        chat.requests.clear()
        assert post(**{name: value}).status_code == 200
        [sampling] = [chat_request.sampling for chat_request in chat.requests]
        assert sampling == {name: CHECKED.get(name, value)}
    chat.requests.clear()
    post(max_completion_tokens=9)
    post(max_completion_tokens=9, max_tokens=9)
    assert [chat_request.sampling for chat_request in chat.requests] == [{"max_tokens": 9}] * 2

    id = store.create(title="t", model="scripted").id
    post(conversation_id=id)
    assert [stored.message.role for stored in store.get(id).messages] == ["user", "assistant"]

    messages = [*OK["messages"], {"role": "assistant", "content": "Once"}]
    post(messages=messages, continue_final_message=True)
    assert chat.requests[-1].context.continue_final_message

    post(messages=messages, continue_final_message=True, echo=True)
    assert chat.requests[-1].output.echo
    assert post(echo=True).json()["error"]["param"] == "echo"

    for fields, request in {
        "n": ({"n": 3}, {"output.n": 3}),
        "priority": ({"priority": -3}, {"scheduling.priority": -3}),
        "prompt_cache_key": ({"prompt_cache_key": "k"}, {"scheduling.prompt_cache_key": "k"}),
        "prediction": ({"prediction": {"type": "content", "content": "Hello"}}, {"output.prediction": "Hello"}),
        "prediction in parts": (
            {"prediction": {"type": "content", "content": [{"type": "text", "text": t} for t in ("He", "llo")]}},
            {"output.prediction": "Hello"},
        ),
        "response_format": (
            {"response_format": {"type": "json_object"}},
            {"output.format": ResponseFormat("json_object")},
        ),
        "guided_regex": ({"guided_regex": "a+"}, {"output.format": ResponseFormat("regex", "a+", "guided_regex")}),
        "guided_choice": (
            {"guided_choice": ["a"]},
            {"output.format": ResponseFormat("choice", ("a",), "guided_choice")},
        ),
        "guided_grammar": (
            {"guided_grammar": "start: X"},
            {"output.format": ResponseFormat("lark", "start: X", "guided_grammar")},
        ),
        "reasoning_effort": (
            {"reasoning_effort": "low"},
            {"context.chat_template_kwargs": {"reasoning_effort": "low"}},
        ),
        "verbosity": ({"verbosity": "high"}, {"context.chat_template_kwargs": {"verbosity": "high"}}),
        "tools": ({"tools": TOOLS}, {"tools.choice": ToolChoice("auto"), "tools.parallel_calls": True}),
        "tool_choice": ({"tools": TOOLS, "tool_choice": "required"}, {"tools.choice": ToolChoice("required")}),
        "parallel_tool_calls": ({"tools": TOOLS, "parallel_tool_calls": False}, {"tools.parallel_calls": False}),
        "functions": ({"functions": [F]}, {"tools.choice": ToolChoice("auto"), "tools.parallel_calls": False}),
        "function_call": (
            {"functions": [F], "function_call": {"name": "f"}},
            {"tools.choice": ToolChoice("required", ("f",))},
        ),
        "chat_template_kwargs": ({"chat_template_kwargs": {"a": 1}}, {"context.chat_template_kwargs": {"a": 1}}),
        "context_policy": ({"context_policy": "drop_oldest"}, {"context.policy": "drop_oldest"}),
        "sampling_preset": ({"sampling_preset": "chat"}, {"preset": "chat"}),
    }.values():
        assert post(**fields).status_code == 200
        for path, value in request.items():
            assert attrgetter(path)(chat.requests[-1]) == value

    assert post(stream=True).headers["content-type"].startswith("text/event-stream")
    with_usage = post(stream=True, stream_options={"include_usage": True}).text
    assert json.loads(with_usage.split("\n\n")[-3].removeprefix("data: "))["usage"]["completion_tokens"] == 4

    post(store=True, user="u" * 512, safety_identifier="s" * 64, metadata={"a": "b"})
    [stored], _ = store.completions.list(limit=9, after=None, order="asc", model=None, metadata={"a": "b"})
    assert stored.request == {"user": "u" * 512, "safety_identifier": "s" * 64}


@pytest.mark.parametrize("fields", [{"conversation_id": "conv_1"}, {"store": True}])
def test_fields_that_need_a_store_are_rejected_without_one(post, chat, fields):
    chat.store = None
    error = post(**fields).json()["error"]
    assert (error["param"], error["code"]) == (*fields, "unsupported_value")


def test_the_openapi_document_describes_the_request_bodies(url):
    document = httpx.get(f"{url}/openapi.json").json()
    text = json.dumps(document)
    assert "422" not in text
    assert "HTTPValidationError" not in text
    schemas = document["components"]["schemas"]
    assert schemas["ChatCompletionRequest"]["properties"].keys() == PUBLISHED | EXTENSION_FIELDS
    for reference in {reference.split('"')[0] for reference in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in schemas
    assert document["paths"].keys() >= {
        "/v1/chat/completions",
        "/v1/models",
        "/v1/conversations/{id}",
        "/v1/parameters",
    }


def test_the_generation_parameters_are_listed(url):
    served = {entry["name"]: entry for entry in httpx.get(f"{url}/v1/parameters").json()["data"]}
    assert served.keys() == PARAMETER_SPECS.keys()
    assert served["top_p"] == {
        "name": "top_p", "type": "number", "description": PARAMETER_SPECS["top_p"].description, "default": 1.0,
        "neutral": 1.0, "minimum": 0.0, "maximum": 1.0, "exclusive_minimum": False, "nullable": False, "is_list": False,
        "group": "basic", "label": "", "help": PARAMETER_SPECS["top_p"].help, "widget": "number", "choices": [],
        "is_extension": False,
    }  # fmt: skip


def test_all_roles_of_the_client_library_are_covered():
    """A new published role has to be added here."""
    roles = {get_args(get_type_hints(kind)["role"])[0] for kind in get_args(published.ChatCompletionMessageParam)}
    assert roles == {"system", "developer", "user", "assistant", "tool", "function"}


def test_ignored_unknown_fields_are_listed_in_a_header(services, chat):
    app = create_app(services, default="scripted", ignore_unknown=True)
    with serve_in_thread(app) as url, httpx.Client(base_url=url) as client:
        answer = client.post("/v1/chat/completions", json={**OK, "tempo": 1, "größe": 2, "temperature": 0.5})
        assert answer.status_code == 200
        assert answer.headers["x-ignored-fields"] == '"gr\\u00f6\\u00dfe", "tempo"'
        assert chat.requests[-1].sampling == {"temperature": 0.5}
        many = client.post("/v1/chat/completions", json={**OK, "é" * 600: 1, **{f"x{i}": 1 for i in range(200)}})
        assert many.status_code == 200
        assert json.loads(f"[{many.headers['x-ignored-fields']}]")[-1] == "..."
        assert "x-ignored-fields" not in client.post("/v1/chat/completions", json=OK).headers
        refused = client.post("/v1/chat/completions", json={**OK, "tempo": 1, "scenario": "bank"})
        assert refused.json()["error"]["param"] == "scenario"


def test_unknown_fields_can_be_ignored_at_every_depth(services, chat):
    x = {"x": 1}
    body = {
        "model": "scripted",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi", **x}], "timestamp": 1},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}", **x}, **x}]},
            {"role": "tool", "tool_call_id": "c", "content": "done", **x},
        ],
        "tools": [{"type": "function", "function": {**F, **x}, **x},
                  {"type": "custom", "custom": {"name": "g", "format": {"type": "text", **x}, **x}}],
        "tool_choice": {"type": "function", "function": {"name": "f", **x}, **x},
        "response_format": {"type": "json_object", **x},
        "prediction": {"type": "content", "content": [{"type": "text", "text": "a", **x}], **x},
        "stream": True,
        "stream_options": {"include_usage": True, **x},
    }  # fmt: skip
    with serve_in_thread(create_app(services, default="scripted", ignore_unknown=True)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert json.loads(f"[{answer.headers['x-ignored-fields']}]") == sorted([
            "messages[0].timestamp", "messages[0].content[0].x", "messages[1].tool_calls[0].x",
            "messages[1].tool_calls[0].function.x", "messages[2].x", "prediction.x", "prediction.content[0].x",
            "response_format.x", "stream_options.x", "tool_choice.x", "tool_choice.function.x", "tools[0].function.x",
            "tools[0].x", "tools[1].custom.format.x", "tools[1].custom.x",
        ])  # fmt: skip
        assert chat.requests[-1].tools.definitions[0].definition["function"].keys() == {"name", "parameters"}
        refused = httpx.post(f"{url}/v1/chat/completions", json={**body, "messages": [{"role": "user"}]})
        assert refused.json()["error"]["param"] == "messages[0].content"
