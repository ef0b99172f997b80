"""Requests generated from the OpenAPI document, and malformed bodies. None may cause a server error."""

import json
import random
from contextlib import closing

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from annotated_data import write_classifier
from monitor_stand_ins import open_test_pipeline, text
from turnwise.app.chat_services import open_chat_service
from turnwise.app.classifiers import open_classification_service
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.server.app import create_app
from turnwise.store import open_monitor_reader, open_monitor_store, open_store
from turnwise.testing import serve_in_thread

pytestmark = pytest.mark.slow
OK = {
    "/v1/chat/completions": {
        "model": "latest", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5,
    },
    "/v1/responses": {"model": "latest", "input": "Hello", "max_output_tokens": 5},
    "/v1/classify": {"model": "latest", "input": "Hello"},
    "/v1/tag": {"model": "latest", "input": ["Hello", "Ada."]},
    "/v1/next_token": {"model": "latest", "messages": [{"role": "user", "content": "Hello"}], "answer_tokens": [300]},
    "/v1/answer_tokens": {"model": "latest", "messages": [{"role": "user", "content": "Hello"}], "answer": "Hi."},
    "/v1/attention": {"model": "latest", "messages": [{"role": "user", "content": "Hello"}], "answer_tokens": [300]},
}  # fmt: skip


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory, tokenizer):
    root = tmp_path_factory.mktemp("classifiers")
    configs = {
        "moods": ClassifierConfig("sequence_classification", ("good", "bad")),
        "names": ClassifierConfig("token_classification", ("O", "B-PER", "I-PER")),
    }
    folders = {name: write_classifier(root / name, tokenizer, config) for name, config in configs.items()}
    return {name: open_classification_service(str(folder), threads=1) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def monitor(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('monitor') / 'monitor.db'}"
    with closing(open_monitor_store(url)) as store:
        open_test_pipeline(store).process([text(second, f"acme {second}") for second in range(0, 200, 10)])
    return open_monitor_reader(url)


@pytest.fixture(scope="module")
def url(classifiers, monitor):
    store = open_store("sqlite:///:memory:")
    with (
        open_chat_service(store=store) as service,
        serve_in_thread(create_app({"box": service}, default="box", classifiers=classifiers, monitor=monitor)) as url,
    ):
        yield url
    store.close()


@pytest.fixture(scope="module")
def api_schema(url):
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


def assert_sound(response):
    """Assert that a response is not a server error, and that an error has the published shape."""
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        error = response.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["message"]
        assert response.status_code != 422


def test_requests_generated_from_the_openapi_document_cause_no_server_error(api_schema):
    tried = 0
    for result in api_schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def requests(case):
            if isinstance(case.body, dict) and "messages" in case.body and case.path == "/v1/chat/completions":
                # An answer as long as the context would take too much time.
                case.body |= {"max_tokens": 3, "n": 1}
                case.body.pop("max_completion_tokens", None)
            if isinstance(case.query, dict) and isinstance(case.query.get("wait"), int | float):
                case.query["wait"] = min(case.query["wait"], 0.05)  # so would a long poll
            assert_sound(case.call(timeout=60))

        requests()
        tried += 1
    assert tried > 10


WORDS = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    2**70,
    "",
    "a",
    "\u0000",
    "😀",
    "../..",
    "<|user|>",
    [],
    {},
    [[]],
    {"a": {}},
]
SHARED_FIELDS = [
    "stream", "stop", "seed", "logit_bias", "top_logprobs", "tools", "tool_choice", "temperature", "stream_options",
    "guided_regex", "guided_choice", "guided_grammar", "bad_words", "min_tokens", "chat_template_kwargs", "metadata",
    "store", "user", "nonsense",
]  # fmt: skip
FIELDS = {
    "/v1/chat/completions": ["n", "logprobs", "response_format", "reasoning_effort"],
    "/v1/responses": [
        "background", "conversation", "include", "instructions", "max_tool_calls", "parallel_tool_calls",
        "previous_response_id", "prompt", "prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "text",
        "truncation",
    ],
    "/v1/classify": ["threshold", "top_k", "input", "model"],
    "/v1/tag": ["threshold", "input", "model"],
    "/v1/next_token": ["top", "token_ids", "answer_tokens", "continue_final_message", "response_format", "scenario"],
    "/v1/answer_tokens": ["answer", "answer_tokens", "top_logprobs", "context_policy"],
    "/v1/attention": ["layer", "head", "answer_tokens", "context_policy"],
}  # fmt: skip
# Items of the input and objects in other fields have separate parsers.
ITEMS = [
    {"role": "user", "content": None}, {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"id": "msg_1"},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
    {"type": "item_reference", "id": "resp_1"}, {"type": "reasoning", "summary": [{}], "encrypted_content": 1},
    {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": {}}, {"type": "message"}, {"type": []},
]  # fmt: skip


def mutate(rng, path):
    """Return a valid body with random changes."""
    body = json.loads(json.dumps(OK[path]))
    if path == "/v1/responses" and rng.random() < 0.5:
        body["input"] = [change(rng, item) for item in rng.choices(ITEMS, k=rng.randint(1, 4))]
    for _ in range(rng.randint(0 if isinstance(body.get("input"), list) else 1, 3)):
        body[rng.choice([*OK[path], *SHARED_FIELDS, *FIELDS[path]])] = rng.choice(WORDS)
    raw = json.dumps(body).encode()
    kind = rng.randint(0, 5)
    if kind == 0:
        raw = raw[: rng.randint(0, len(raw))]
    elif kind == 1:
        at = rng.randrange(len(raw))
        raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
    return raw


def change(rng, item):
    """Return an item, with or without a random change."""
    return item if rng.random() < 0.5 else item | {rng.choice([*item, "role", "content", "status"]): rng.choice(WORDS)}


@pytest.mark.parametrize("path", OK)
def test_thousands_of_malformed_bodies_cause_no_server_error(url, path):
    rng = random.Random(1)
    with httpx.Client(base_url=url, timeout=60, headers={"content-type": "application/json"}) as client:
        for _ in range(3000):
            assert_sound(client.post(path, content=mutate(rng, path)))
        assert client.post(path, json=OK[path]).status_code == 200
