"""`/tokenize` and `/detokenize`, with a real model."""

import httpx
import pytest

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread


@pytest.fixture(scope="module")
def service():
    with open_chat_service() as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    with serve_in_thread(create_app({"box": service}, default="box")) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize("text", ["Hello there", "你好 🚚", "<|user|> is text", ""])
def test_detokenize_inverts_tokenize(client, text):
    response = client.post("/tokenize", json={"prompt": text}).json()
    assert response["count"] == len(response["tokens"]) == len(response["token_strs"])
    assert client.post("/detokenize", json={"tokens": response["tokens"]}).json()["prompt"] == text


def test_the_tokens_of_messages_are_those_of_a_completion(client, service):
    messages = [{"role": "user", "content": "Hello"}]
    response = client.post("/tokenize", json={"messages": messages}).json()
    usage = client.post("/v1/chat/completions", json={"model": "box", "messages": messages, "max_tokens": 1}).json()
    assert response["count"] == usage["usage"]["prompt_tokens"]
    assert response["max_model_len"] == service.context_length
    assert response["token_strs"][0] == "<|user|>"
    without = client.post("/tokenize", json={"messages": messages, "add_generation_prompt": False}).json()
    assert without["tokens"] == response["tokens"][:-1]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "prompt"),
        ("/tokenize", {"prompt": 3}, "prompt"),
        ("/tokenize", {"messages": [{"role": "nobody", "content": "a"}]}, "messages[0].role"),
        ("/tokenize", {"text": "a"}, "text"),
        ("/detokenize", {"tokens": [10**9]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens.0"),
        ("/detokenize", {"tokens": "ab"}, "tokens"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [1], "model": "other"}, "model"),
    ],
)
def test_an_invalid_field_is_rejected_with_its_name(client, path, fields, param):
    answer = client.post(path, json=fields)
    assert answer.status_code == (404 if param == "model" else 400)
    assert answer.json()["error"]["param"] == param


def test_both_routes_are_in_the_openapi_document(client):
    document = client.get("/openapi.json").json()
    assert {"/tokenize", "/detokenize"} <= document["paths"].keys()
    assert {"TokenizeRequest", "DetokenizeRequest", "CompletionRequest"} <= document["components"]["schemas"].keys()
