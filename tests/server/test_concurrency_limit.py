"""Limits of a server: concurrent completions in total and per key, time, and body size."""

import json
import socket
import time
from contextlib import ExitStack

import httpx
import openai
import pytest

from turnwise.server.app import create_app
from turnwise.server.middleware import concurrency_limit, timeouts
from turnwise.server.middleware.concurrency_limit import ServerLimits
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

HELLO = [{"role": "user", "content": "Hello"}]
BODY = {"model": "scripted", "messages": HELLO}


def endless(chat_request):
    while True:
        yield "word "


def eventually(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return true


@pytest.fixture
def serving():
    """Start a server with a scripted chat service; it stops at the end of the test."""
    with ExitStack() as stack:

        def start(chat, **settings):
            app = create_app({"scripted": chat}, default="scripted", **settings)
            return stack.enter_context(serve_in_thread(app)), app.state.limiter

        yield start


@pytest.fixture
def open_stream():
    """Start a stream that runs until the end of the test."""
    pieces = []
    with ExitStack() as stack:

        def start_stream(url, **settings):
            answer = stack.enter_context(
                httpx.stream("POST", f"{url}/v1/chat/completions", json={**BODY, "stream": True}, **settings)
            )
            assert answer.status_code == 200
            pieces.append(answer.iter_raw())  # a garbage-collected iterator would close the response
            next(pieces[-1])
            return answer

        yield start_stream


def post(url, **settings):
    return httpx.post(f"{url}/v1/chat/completions", json=BODY, timeout=20, **settings)


# Concurrent requests


def test_a_full_queue_is_a_429_with_retry_after(serving, open_stream):
    url, limiter = serving(ScriptedChatService(endless, delay=0.02), limits=ServerLimits(max_concurrent_requests=2))
    first = open_stream(url)
    open_stream(url)
    answer = post(url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "server_busy")
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert httpx.get(f"{url}/v1/models").status_code == 200, "only completions wait for a model"
    first.close()
    assert eventually(lambda: limiter.num_active == 1)
    open_stream(url)


def test_the_official_client_retries_until_a_slot_is_free(serving, open_stream):
    chat = ScriptedChatService(
        lambda chat_request: endless(chat_request) if len(chat.requests) == 1 else ["Hello."], delay=0.02
    )
    url, _ = serving(chat, limits=ServerLimits(max_concurrent_requests=1))
    first = open_stream(url)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError, match="The server is busy: it has 1 active"):
            client.chat.completions.create(**BODY)
        first.close()
        patient = client.with_options(max_retries=3)
        assert patient.chat.completions.create(**BODY).choices[0].message.content == "Hello."


def test_a_slot_is_released_however_the_request_ends(serving):
    chat = ScriptedChatService()
    url, limiter = serving(chat, limits=ServerLimits(max_concurrent_requests=1))
    assert post(url).status_code == 200
    assert httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": True}).status_code == 200
    assert httpx.post(f"{url}/v1/chat/completions", json={"model": "none"}).status_code == 400
    assert httpx.post(f"{url}/v1/chat/completions", content=b"{").status_code == 415
    chat._fail_after, chat._failure = 0, RuntimeError("x")
    assert post(url).status_code == 500
    assert eventually(lambda: limiter.num_active == 0)


def test_the_concurrent_requests_of_a_key_are_limited(serving, open_stream, tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    narrow, wide = (
        {"Authorization": f"Bearer {key}"} for key in (keys.create("a", max_concurrent=1), keys.create("b"))
    )
    chat = ScriptedChatService(
        lambda chat_request: endless(chat_request) if chat_request.messages[0].content == "Hello" else ["Hi."],
        delay=0.02,
    )
    url, limiter = serving(chat, keys=keys)
    running = open_stream(url, headers=narrow)
    refused = post(url, headers=narrow)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    open_stream(url, headers=wide)
    running.close()
    assert eventually(lambda: limiter.num_active == 1)
    open_stream(url, headers=narrow)


# Timeouts


def test_a_response_over_the_time_limit_is_a_408(serving):
    chat = ScriptedChatService(endless, delay=0.02)
    url, limiter = serving(chat, limits=ServerLimits(request_timeout=0.3))
    answer = post(url)
    assert answer.status_code == 408
    error = answer.json()["error"]
    assert error["code"] == "timeout"
    assert "0.3 seconds" in error["message"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert answer.headers["connection"] == "close"
    assert (chat.num_cancelled, limiter.num_active) == (1, 0)


def test_a_stream_over_the_time_limit_ends_with_an_error_event(serving):
    chat = ScriptedChatService(endless, delay=0.02)
    url, limiter = serving(chat, limits=ServerLimits(request_timeout=0.3))
    answer = httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": True})
    assert answer.status_code == 200
    events = answer.text.strip().split("\n\n")
    assert "word" in events[2]
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert (error["code"], error["param"]) == ("timeout", None)
    assert "[DONE]" not in answer.text
    assert (chat.num_cancelled, limiter.num_active) == (1, 0)
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.APIError, match="took longer"),
    ):
        list(client.chat.completions.create(**BODY, stream=True))


def test_a_stream_without_a_first_event_within_the_time_limit_is_a_408(serving):
    url, _ = serving(ScriptedChatService(endless, delay=30), limits=ServerLimits(request_timeout=0.2))
    assert httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": True}).status_code == 408


def test_a_response_within_the_time_limit_is_complete(serving):
    url, _ = serving(ScriptedChatService(delay=0.01), limits=ServerLimits(request_timeout=5))
    assert post(url).json()["choices"][0]["message"]["content"] == "Hello, you."


@pytest.mark.slow
def test_a_client_that_stops_reading_releases_its_slot_at_the_time_limit(serving, monkeypatch):
    monkeypatch.setattr(concurrency_limit, "ERROR_SEND_TIMEOUT_SECONDS", 0.2)
    chat = ScriptedChatService(lambda chat_request: ("x" * 10_000 for _ in range(5_000)))
    url, limiter = serving(chat, limits=ServerLimits(request_timeout=0.5))
    host, port = url.removeprefix("http://").split(":")
    content = json.dumps({**BODY, "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        assert reader.recv(100).startswith(b"HTTP/1.1 200")
        assert eventually(lambda: limiter.num_active == 1)
        assert eventually(lambda: limiter.num_active == 0, seconds=2), "although it is connected still"
        assert chat.num_cancelled == 1
        assert chat.num_chunks < 5_000


def test_an_incomplete_request_releases_its_slot_at_the_time_limit(serving, monkeypatch):
    monkeypatch.setattr(timeouts, "RECEIVE_TIMEOUT_SECONDS", 0.2)
    url, limiter = serving(ScriptedChatService())
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as dripping:
        dripping.sendall(f"{head}Content-Length: 100\r\n\r\n".encode() + b"{")
        response = dripping.recv(4000)
    assert response.startswith(b"HTTP/1.1 408")
    assert eventually(lambda: limiter.num_active == 0)


def test_the_maximum_body_size_is_configurable(serving):
    url, _ = serving(ScriptedChatService(), body_limit=2000)
    large = {**BODY, "messages": [{"role": "user", "content": "x" * 2000}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=large)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert post(url).status_code == 200
