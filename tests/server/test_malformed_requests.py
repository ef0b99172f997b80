"""Malformed requests are rejected in the published error shape, with the right status; never 422 or 500."""

import json

import httpx
import pytest

from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

pytestmark = pytest.mark.slow  # blocks, as a real client does

LONG = "x" * 100_000
OK = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}


def request(**changes):
    return {**OK, **changes}


def message(**fields):
    return {**OK, "messages": [fields]}


# body, status, code, param, excerpt of the message
BODIES = [
    (b"", 400, "invalid_json", None, "not valid JSON"),
    (b"{", 400, "invalid_json", None, "line 1, column 2"),
    (b"\xff\xfe", 400, "invalid_json", None, "UTF-8"),
    (b'{"model": "\\ud800"}', 400, "invalid_json", None, "surrogate"),
    (b"[" * 50_000, 400, "invalid_json", None, "nested too deeply"),
    (b'{"temperature": NaN}', 400, "invalid_json", None, "NaN is not a JSON number"),
    (b'{"seed": ' + b"9" * 5000 + b"}", 400, "invalid_json", None, "not valid JSON"),
    (b"[]", 400, "invalid_json", None, "must be a JSON object"),
    (b"null", 400, "invalid_json", None, "must be a JSON object"),
    (b'"hi"', 400, "invalid_json", None, "must be a JSON object"),
    ({}, 400, "missing_required_parameter", "messages", "'messages' is required"),
    ({"messages": OK["messages"]}, 400, "missing_required_parameter", "model", "'model' is required"),
    ({"model": "scripted"}, 400, "missing_required_parameter", "messages", "'messages' is required"),
    (request(model=None), 400, "invalid_type", "model", "must be a string"),
    (request(model=7), 400, "invalid_type", "model", "must be a string"),
    (request(model=["scripted"]), 400, "invalid_type", "model", "must be a string"),
    (request(model="gpt-4o"), 404, "model_not_found", "model", "Served models: scripted, latest, stable"),
    (request(model="../etc/passwd"), 404, "model_not_found", "model", "not served here"),
    (request(model=LONG), 404, "model_not_found", "model", "…"),
    (request(messages=None), 400, "invalid_type", "messages", "must be a list"),
    (request(messages="hi"), 400, "invalid_type", "messages", "must be a list"),
    (request(messages=[]), 400, "invalid_value", "messages", "is empty"),
    (request(messages=["hi"]), 400, "invalid_type", "messages[0]", "must be an object"),
    (request(messages=[*OK["messages"], {}]), 400, "missing_required_parameter", "messages[1].role", "is required"),
    (message(role="user"), 400, "missing_required_parameter", "messages[0].content", "is required"),
    (message(role="robot", content=""), 400, "invalid_value", "messages[0].role", "not 'robot'"),
    (message(role=LONG, content=""), 400, "invalid_value", "messages[0].role", "system, developer, user, assistant"),
    (message(role=["user"], content=""), 400, "invalid_value", "messages[0].role", "must be one of"),
    (message(role="tool", content="", tool_call_id="x"), 400, "invalid_value", "messages[0].tool_call_id", "no call"),
    (message(role="function", content=""), 400, "missing_required_parameter", "messages[0].name", "is required"),
    (message(role="assistant", tool_calls=[{}]), 400, "missing_required_parameter", "messages[0].tool_calls[0].id",
     "is required"),
    (message(role="user", content="", tool_call_id="x"), 400, "invalid_value", "messages[0].tool_call_id",
     "role 'user'"),
    (message(role="assistant", content="", refusal=7), 400, "invalid_type", "messages[0].refusal", "must be a string"),
    (message(role="assistant", content="", audio={"id": "a"}), 400, "unsupported_value", "messages[0].audio", "only"),
    (message(role="assistant", content="", index=True), 400, "invalid_type", "messages[0].index", "type"),
    (message(role="user", content="", index=0), 400, "unknown_parameter", "messages[0].index", "Unknown"),
    (message(role="user", content=[{"type": "refusal", "refusal": "no"}]), 400, "unsupported_value",
     "messages[0].content[0].type", "must be 'text'"),
    (message(role="user", content=[{"type": "text", "text": "", "prompt_cache_breakpoint": {"mode": "explicit",
     "ttl": "12h"}}]), 400, "unsupported_value", "messages[0].content[0].prompt_cache_breakpoint.ttl", "cannot be set"),
    (message(role="user", content="", contnet="x"), 400, "unknown_parameter", "messages[0].contnet", "'content'"),
    (message(role="user", content=7), 400, "invalid_type", "messages[0].content", "must be a string"),
    (message(role="user", content=[]), 400, "invalid_type", "messages[0].content", "not empty"),
    (message(role="user", content=["hi"]), 400, "invalid_type", "messages[0].content[0]", "must be an object"),
    (message(role="user", content=[{"type": "image_url"}]), 400, "unsupported_value", "messages[0].content[0].type",
     "text only"),
    (message(role="user", content=[{"type": "text"}]), 400, "invalid_type", "messages[0].content[0].text", "a string"),
    (message(role="user", content=[{"type": "text", "text": "", "x": 1}]), 400, "unknown_parameter",
     "messages[0].content[0].x", "text, type"),
    (message(role="user", content="", name=7), 400, "invalid_value", "messages[0].name", "1 to 4096"),
    (message(role="user", content="", name=""), 400, "invalid_value", "messages[0].name", "1 to 4096"),
    (request(temprature=1), 400, "unknown_parameter", "temprature", "did you mean 'temperature'?"),
    (request(**{LONG: 1}), 400, "unknown_parameter", "x" * 100 + "…", "Unknown parameter"),
    (request(temperature="hot"), 400, "invalid_parameter", "temperature", "must be a number, got 'hot'"),
    (request(temperature=LONG), 400, "invalid_parameter", "temperature", "must be a number, got 'xx"),
    (request(temperature=True), 400, "invalid_parameter", "temperature", "must be a number"),
    (request(temperature=-0.1), 400, "invalid_parameter", "temperature", "between 0 and 2"),
    (b'{"model":"scripted","messages":[{"role":"user","content":""}],"temperature":1e999}', 400, "invalid_parameter",
     "temperature", "between 0 and 2"),
    (request(top_p=-0.1), 400, "invalid_parameter", "top_p", "between 0 and 1"),
    (request(typical_p=0), 400, "invalid_parameter", "typical_p", "greater than 0 and at most 1"),
    (request(top_k=-1), 400, "invalid_parameter", "top_k", "between 0 and"),
    (request(top_k=1.5), 400, "invalid_parameter", "top_k", "whole number"),
    (request(seed=2**64), 400, "invalid_parameter", "seed", "between"),
    (request(seed=10**400), 400, "invalid_parameter", "seed", "between"),
    (request(max_tokens=0), 400, "invalid_parameter", "max_tokens", "at least 1"),
    (request(max_completion_tokens=-3), 400, "invalid_parameter", "max_completion_tokens", "tokens' must be at"),
    (request(max_tokens=3, max_completion_tokens=4), 400, "invalid_parameter", "max_tokens", "differ"),
    (request(stop=["a"] * 5), 400, "invalid_parameter", "stop", "at most 4 entries, got 5"),
    (request(stop=[""]), 400, "invalid_parameter", "stop", "non-empty strings"),
    (request(stop=7), 400, "invalid_parameter", "stop", "must be a str"),
    (request(stream="yes"), 400, "invalid_type", "stream", "must be true or false"),
    (request(stream=1), 400, "invalid_type", "stream", "must be true or false"),
    (request(stream_options={}), 400, "invalid_parameter", "stream_options", "only allowed together with 'stream'"),
    (request(stream=True, stream_options=7), 400, "invalid_type", "stream_options", "must be an object"),
    (request(stream=True, stream_options={"include_usge": True}), 400, "unknown_parameter",
     "stream_options.include_usge", "did you mean 'include_usage'?"),
    (request(stream=True, stream_options={"include_usage": 1}), 400, "invalid_type", "stream_options.include_usage",
     "be"),
    (request(stream=True, stream_options={"include_obfuscation": 1}), 400, "invalid_type",
     "stream_options.include_obfuscation", "must be true or false"),
    (request(user="u" * 4097), 400, "invalid_value", "user", "at most 4096 characters"),
    (request(user=7), 400, "invalid_type", "user", "must be a string"),
    (request(conversation_id=""), 400, "invalid_value", "conversation_id", "at least 1 character"),
    (request(conversation_id="conv_no"), 404, "not_found", None, "no conversation 'conv_no'"),
    (request(continue_final_message=True), 400, "invalid_parameter", "continue_final_message", "last message"),
]  # fmt: skip


def assert_error(answer, status, code, param, excerpt):
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert (body["error"]["code"], body["error"]["param"]) == (code, param)
    assert excerpt in body["error"]["message"]
    assert len(answer.content) < 1000, "an error never sends a large input back"


@pytest.fixture(scope="module")
def server_url():
    store = open_store("sqlite:///:memory:")
    chat = ScriptedChatService(store=store)
    with serve_in_thread(create_app({chat.name: chat}, default=chat.name)) as url:
        yield url
    store.close()


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "excerpt"),
    BODIES,
    ids=[f"{i}-{row[2]}-{str(row[3])[:30]}" for i, row in enumerate(BODIES)],
)
def test_a_malformed_body_is_rejected(server_url, body, status, code, param, excerpt):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = httpx.post(
        f"{server_url}/v1/chat/completions", content=content, headers={"content-type": "application/json"}, timeout=20
    )
    assert_error(answer, status, code, param, excerpt)


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_before_the_first_token_has_its_status_also_with_stream(server_url, stream):
    answer = httpx.post(f"{server_url}/v1/chat/completions", json=request(stream=stream, conversation_id="conv_no"))
    assert_error(answer, 404, "not_found", None, "no conversation")


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "multipart/form-data",
    ],
)
def test_a_content_type_other_than_json_is_a_415(server_url, kind):
    headers = {} if kind is None else {"content-type": kind}
    answer = httpx.post(f"{server_url}/v1/chat/completions", content=json.dumps(OK).encode(), headers=headers)
    assert_error(answer, 415, "unsupported_media_type", None, "application/json")


def test_the_charset_utf_8_is_accepted(server_url):
    headers = {"content-type": "Application/JSON; charset=UTF-8"}
    assert httpx.post(f"{server_url}/v1/chat/completions", content=json.dumps(OK), headers=headers).status_code == 200


def test_a_large_body_is_a_413_and_the_server_continues(server_url):
    body = json.dumps(message(role="user", content="x" * (5 * 2**20)))
    for _ in range(3):
        answer = httpx.post(
            f"{server_url}/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
        assert_error(answer, 413, "body_too_large", None, "4,194,304 bytes")
    assert httpx.post(f"{server_url}/v1/chat/completions", json=OK).status_code == 200


def test_an_endless_body_is_cut_off(server_url):
    sent = 0

    def endless():
        nonlocal sent
        while sent < 200 * 2**20:
            sent += 2**20
            yield b" " * 2**20

    headers = {"content-type": "application/json"}
    try:
        answer = httpx.post(f"{server_url}/v1/chat/completions", content=endless(), headers=headers)
    except httpx.TransportError:
        pass  # the server closed the connection while the client was sending
    else:
        assert answer.status_code == 413
    assert sent < 100 * 2**20
    assert httpx.get(f"{server_url}/health").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "unknown_url"),
        ("GET", "/v1/chat/completions/", 404, "unknown_url"),
        ("GET", "/v1/" + "x" * 5000, 404, "unknown_url"),
        ("GET", "/assets/../app.py", 404, "unknown_url"),
        ("GET", "/assets/%2e%2e/app.py", 404, "unknown_url"),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/", 405, "method_not_allowed"),
        ("POST", "/assets/style.css", 405, "method_not_allowed"),
        ("GET", "/v1/models/a/b", 404, "model_not_found"),
        ("GET", "/v1/conversations/conv_x", 404, "not_found"),
        ("DELETE", "/v1/conversations/conv_x", 404, "not_found"),
        ("GET", "/v1/conversations?limit=0", 400, "invalid_parameter"),
        ("GET", "/v1/conversations?limit=many", 400, "invalid_parameter"),
    ],
)
def test_errors_of_other_routes_have_the_same_shape(server_url, method, path, status, code):
    answer = httpx.request(method, server_url + path)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert len(answer.content) < 1000
    if status == 405:
        assert answer.headers["allow"]


def test_bodies_of_conversations_are_validated(server_url):
    made = httpx.post(f"{server_url}/v1/conversations", json={}).json()
    for body, param in (({"titel": "x"}, "titel"), ({"title": "  "}, "title"), ({"title": "x" * 201}, "title")):
        answer = httpx.patch(f"{server_url}/v1/conversations/{made['id']}", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
