"""Disconnects, slow readers, and failures during generation."""

import json
import logging
import socket
import threading
import time

import httpx
import openai
import pytest

from turnwise.core.errors import Unavailable
from turnwise.server.app import create_app
from turnwise.testing import ScriptedChatService, serve_in_thread

pytestmark = pytest.mark.slow  # blocks, as a real client does

BODY = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
STEP = 0.05


def eventually(condition, seconds=5.0):
    """Return whether `condition()` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def endless(chat_request):
    while True:
        yield "word "


def request(host, *, stream):
    """Return a request as bytes, for tests that use a socket."""
    content = json.dumps({**BODY, "stream": stream})
    head = ("POST /v1/chat/completions HTTP/1.1", f"Host: {host}", "Content-Type: application/json",
            f"Content-Length: {len(content)}")  # fmt: skip
    return ("\r\n".join(head) + "\r\n\r\n" + content).encode()


@pytest.fixture
def serving():
    """Start a server with a scripted chat service; it stops at the end of the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda chat: stack.enter_context(serve_in_thread(create_app({"scripted": chat}, default="scripted")))


def test_a_disconnect_cancels_a_stream_within_one_step(serving):
    chat = ScriptedChatService(endless, delay=STEP)
    url = serving(chat)
    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**BODY, "stream": True}) as answer:
        lines = answer.iter_lines()
        while "word" not in next(lines):
            pass
    made = chat.num_chunks
    assert eventually(lambda: chat.num_cancelled == 1)
    assert chat.num_chunks <= made + 2
    time.sleep(4 * STEP)
    assert chat.num_chunks <= made + 2, "nothing goes on in the background"


def test_closing_a_stream_of_the_official_client_cancels_the_request(serving):
    chat = ScriptedChatService(endless, delay=STEP)
    with openai.OpenAI(base_url=f"{serving(chat)}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(**BODY, stream=True)
        next(iter(stream))
        stream.close()
        assert eventually(lambda: chat.num_cancelled == 1)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("delay", [STEP, 30.0], ids=["between chunks", "before the first word"])
def test_a_disconnect_before_the_response_cancels_the_request(serving, stream, delay):
    chat = ScriptedChatService(endless, delay=delay)
    url = serving(chat)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as leaver:
        leaver.sendall(request(host, stream=stream))
        assert eventually(lambda: len(chat.requests) == 1)
        time.sleep(2 * STEP)
    assert eventually(lambda: chat.num_cancelled == 1, seconds=2)


def test_a_complete_response_is_not_cancelled(serving):
    chat = ScriptedChatService()
    url = serving(chat)
    for stream in (True, False):
        httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": stream})
    time.sleep(0.1)
    assert chat.num_cancelled == 0


def test_a_slow_reader_delays_only_its_own_stream(serving):
    chat = ScriptedChatService(lambda chat_request: ("x" * 10_000 for _ in range(5_000)))
    url = serving(chat)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(request(host, stream=True))
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        time.sleep(0.5)
        held = chat.num_chunks
        time.sleep(0.3)
        assert chat.num_chunks == held < 5_000, "memory does not fill with what nobody reads"
        assert httpx.get(f"{url}/health").status_code == 200
    assert eventually(lambda: chat.num_cancelled == 1)


def test_a_reader_that_catches_up_receives_the_complete_stream(serving):
    url = serving(ScriptedChatService(lambda chat_request: ("x" * 1000 for _ in range(500))))
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        text = ""
        for i, chunk in enumerate(client.chat.completions.create(**BODY, stream=True)):
            text += chunk.choices[0].delta.content or ""
            if i < 10:
                time.sleep(0.02)
    assert text == "x" * 500_000


@pytest.mark.parametrize(
    ("failure", "message", "code"),
    [
        (Unavailable("The model is being exchanged."), "The model is being exchanged.", "unavailable"),
        (KeyError("my secret words"), "Internal server error.", "internal_error"),
    ],
)
def test_a_failure_during_a_stream_is_an_error_event(serving, caplog, failure, message, code):
    chat = ScriptedChatService(fail_after=2, failure=failure)
    answer = httpx.post(f"{serving(chat)}/v1/chat/completions", json={**BODY, "stream": True})
    assert answer.status_code == 200
    events = answer.text.strip().split("\n\n")
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert error["code"] == code
    assert error["message"].startswith(message)
    assert "[DONE]" not in answer.text
    assert "my secret words" not in answer.text + caplog.text


def test_the_official_client_raises_on_a_failure_during_a_stream(serving):
    chat = ScriptedChatService(fail_after=1, failure=Unavailable("Gone."))
    with (
        openai.OpenAI(base_url=f"{serving(chat)}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.APIError, match="Gone"),
    ):
        list(client.chat.completions.create(**BODY, stream=True))


@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_before_the_first_token_has_its_status(serving, caplog, stream):
    chat = ScriptedChatService(fail_after=0, failure=RuntimeError("my secret words"))
    with caplog.at_level(logging.DEBUG):
        answer = httpx.post(f"{serving(chat)}/v1/chat/completions", json={**BODY, "stream": stream})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "my secret words" not in answer.text + caplog.text
    assert "Unexpected RuntimeError" in caplog.text, "it is logged, with the place it came from"
    assert "testing.py" in caplog.text
    chat._failure = Unavailable("Full.")
    answer = httpx.post(f"{serving(chat)}/v1/chat/completions", json={**BODY, "stream": stream})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(("finish", "status"), [("error", 500), ("cancelled", 503)])
def test_a_completion_that_the_engine_ended_is_an_error(serving, finish, status):
    url = serving(ScriptedChatService(finish=finish))
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY).status_code == status
    streamed = httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": True}).text
    assert '"error"' in streamed
    assert "[DONE]" not in streamed


def test_the_finish_reason_length_is_sent(serving):
    url = serving(ScriptedChatService(finish="length"))
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY).json()["choices"][0]["finish_reason"] == "length"


def test_many_disconnects_at_once_leave_no_request_running(serving):
    chat = ScriptedChatService(endless, delay=0.01)
    url = serving(chat)

    def disconnect():
        with httpx.stream("POST", f"{url}/v1/chat/completions", json={**BODY, "stream": True}) as answer:
            next(answer.iter_lines())

    threads = [threading.Thread(target=disconnect) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert eventually(lambda: chat.num_cancelled == 20)
    assert httpx.get(f"{url}/health").status_code == 200
