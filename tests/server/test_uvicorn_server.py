"""The server process: addresses, start message, shutdown."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import openai
import pytest

from turnwise.server.app import create_app
from turnwise.server.uvicorn_server import ListenFailed, serve
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService

pytestmark = pytest.mark.slow  # blocks, as a real client does

PROGRAM = """
import sys
from turnwise.server.app import create_app
from turnwise.server.uvicorn_server import serve
from turnwise.testing import ScriptedChatService

words, drain, log_format = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

def script(turn):
    return ("secret answer " for _ in range(words))

app = create_app({"scripted": ScriptedChatService(script, delay=0.02)}, default="scripted")
serve(app, port=0, drain=drain, log_format=log_format)
print("tidied up", flush=True)
"""
ENDLESS, TWO_SECONDS = 10**9, 100
BODY = {"model": "scripted", "messages": [{"role": "user", "content": "secret question"}]}
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def app():
    return create_app({"scripted": ScriptedChatService()}, default="scripted")


@contextmanager
def server(words, drain=30.0, log_format="text"):
    """Start a server in a separate process. Yields the process and its URL."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(words), str(drain), log_format],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process, re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        finally:
            process.kill()


@contextmanager
def start_stream(url):
    """Return the lines of a stream that has started."""
    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**BODY, "stream": True}, timeout=30) as answer:
        lines = answer.iter_lines()
        while "secret" not in next(lines):
            pass
        yield lines


def assert_a_clean_end(process):
    out, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == "tidied up\n"
    assert "Traceback" not in errors
    assert "secret" not in errors
    return errors


@pytest.mark.parametrize("how", SIGNALS)
def test_an_idle_server_prints_its_address_and_stops_at_once(how):
    with server(3) as (process, url), httpx.Client(base_url=url) as idle:
        assert idle.get("/health").status_code == 200
        began = time.monotonic()
        process.send_signal(how)
        assert_a_clean_end(process)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("how", SIGNALS)
def test_running_requests_are_completed_and_new_ones_are_rejected_during_shutdown(how):
    with server(TWO_SECONDS) as (process, url), httpx.Client(base_url=url) as kept_alive, start_stream(url) as lines:
        assert kept_alive.get("/ready").status_code == 200
        process.send_signal(how)
        time.sleep(0.3)
        assert kept_alive.get("/health").status_code == 200
        ready = kept_alive.get("/ready")
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "draining")
        refused = kept_alive.post("/v1/chat/completions", json=BODY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert refused.headers["connection"] == "close"
        assert httpx.get(f"{url}/v1/models").status_code == 503, "also on a new connection"
        assert "turnwise_completions_running 1.0" in httpx.get(f"{url}/metrics").text
        assert [line for line in lines if line][-1] == "data: [DONE]"
        errors = assert_a_clean_end(process)
    assert "Waiting for 1 active completions, at most 30 s; a second Ctrl-C stops" in errors
    assert re.search(r"^\d\d:\d\d:\d\d POST /v1/chat/completions 200 \d+ ms$", errors, re.MULTILINE)


def test_a_response_without_streaming_is_completed_during_shutdown():
    with server(TWO_SECONDS) as (process, url):
        program = ["-c", "import httpx, sys; print(httpx.post(sys.argv[1], json=eval(sys.argv[2]), timeout=30).text)"]
        with subprocess.Popen(
            [sys.executable, *program, f"{url}/v1/chat/completions", repr(BODY)], stdout=subprocess.PIPE, text=True
        ) as client:
            while "turnwise_completions_running 1.0" not in httpx.get(f"{url}/metrics").text:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            answer = json.loads(client.communicate(timeout=20)[0])
        assert_a_clean_end(process)
    assert answer["choices"][0]["message"]["content"] == "secret answer " * TWO_SECONDS


@pytest.mark.parametrize("how", SIGNALS)
def test_a_request_longer_than_the_shutdown_timeout_ends_with_an_error(how):
    with server(ENDLESS, drain=0.5) as (process, url), start_stream(url) as lines:
        began = time.monotonic()
        process.send_signal(how)
        last = [line for line in lines if line][-1]
        took = time.monotonic() - began
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "unavailable"
        assert_a_clean_end(process)
    assert 0.4 < took < 3


def test_the_official_client_raises_if_its_response_is_cut_off():
    with (
        server(ENDLESS, drain=0.2) as (process, url),
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        stream = client.chat.completions.create(**BODY, stream=True)
        next(stream)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.APIError, match="The server is stopping"):
            list(stream)
        assert_a_clean_end(process)


def test_a_response_that_is_cut_off_ends_with_the_published_event():
    with (
        server(ENDLESS, drain=0.2) as (process, url),
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        stream = client.responses.create(model="scripted", input="Hello", stream=True)
        next(stream)
        process.send_signal(signal.SIGTERM)
        *_, last = stream
        assert (last.type, last.response.status, last.response.error.code) == (
            "response.failed", "failed", "server_error",
        )  # fmt: skip
        assert "The server is stopping" in last.response.error.message
        assert_a_clean_end(process)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_stops_the_server_at_once(first, second):
    with server(ENDLESS) as (process, url), start_stream(url):
        process.send_signal(first)
        time.sleep(0.3)
        assert process.poll() is None, "it waits for the answer"
        began = time.monotonic()
        process.send_signal(second)
        assert_a_clean_end(process)
    assert time.monotonic() - began < 3


def test_json_logs_have_one_object_per_line():
    with server(3, log_format="json") as (process, url):
        httpx.post(f"{url}/v1/chat/completions", json=BODY, headers={"x-request-id": "r-1"})
        process.send_signal(signal.SIGTERM)
        errors = assert_a_clean_end(process)
    [line] = [json.loads(line) for line in errors.splitlines()]
    assert (line["request_id"], line["status"], line["completion_tokens"]) == ("r-1", 200, 3)


def test_a_port_in_use_is_an_error_with_an_explanation(app):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenFailed, match=rf"port {port}: address already in use\. .*--port 0"):
            serve(app, port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_listening_on_other_addresses_needs_an_option(app, host):
    with pytest.raises(ListenFailed, match=r"without an API key\. Use --host 127\.0\.0\.1, add --allow-remote"):
        serve(app, host=host, port=0)


def test_listening_on_other_addresses_needs_no_option_with_a_key(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", keys=keys)
    with pytest.raises(ListenFailed, match="without an API key"):
        serve(app, host="0.0.0.0", port=0)
    keys.create("me")
    required = create_app({"scripted": ScriptedChatService()}, default="scripted", require_key=True)
    for safe in (app, required):
        with pytest.raises(ListenFailed, match="There is no port"):  # it started to listen
            serve(safe, host="0.0.0.0", port=-1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("127.0.0.1", -1), ("no such host", 0)])
def test_an_invalid_address_is_an_error_with_an_explanation(app, host, port):
    with pytest.raises(ListenFailed, match=r"There is no (port|address)"):
        serve(app, host=host, port=port, allow_remote=True)
