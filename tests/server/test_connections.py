"""Slow and idle clients, and unusual HTTP/1.1 requests, over real sockets."""

import http.client
import json
import socket
import time
from contextlib import ExitStack, closing, suppress

import httpx
import openai
import pytest

from turnwise.core.errors import Unavailable
from turnwise.server.app import create_app
from turnwise.server.middleware import timeouts
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread

BODY = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/classify"),
    ("POST", "/v1/tag"),
    ("POST", "/v1/conversations"),
    ("PATCH", "/v1/conversations/x"),
    ("POST", "/v1/chat/completions/x"),
    ("POST", "/v1/feedback"),
    ("POST", "/tokenize"),
    ("POST", "/nowhere"),
    ("GET", "/health"),
]


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return true


def endless(chat_request):
    while True:
        yield "word " * 100


@pytest.fixture
def serving():
    """Start a server; `serving(chat, connection={…}, **app_options)` returns its URL and the application."""
    with ExitStack() as stack:

        def start(chat, connection=(), **settings):
            app = create_app({"scripted": chat}, default="scripted", **settings)
            return stack.enter_context(serve_in_thread(app, **dict(connection))), app

        yield start


def dial(url, receive_buffer=None):
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(10)
    connection.connect((host, int(port)))
    return connection


def head(method, path, *headers):
    lines = (f"{method} {path} HTTP/1.1", "Host: localhost", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def exchange_raw(url, request):
    """Return all bytes that the server sends until it closes the connection."""
    with closing(dial(url)) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


# Clients that send slowly


def is_closed(connection):
    connection.settimeout(0.01)
    try:
        return connection.recv(65536) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.costly
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_time_to_receive_a_body_is_limited(serving, monkeypatch, method, path):
    monkeypatch.setattr(timeouts, "RECEIVE_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr("turnwise.server.h11_protocol.ERROR_SEND_TIMEOUT_SECONDS", 0.5)
    url, _ = serving(ScriptedChatService(store=open_store("sqlite:///:memory:")))
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(dial(url))) for _ in range(50)]
        for connection in slow:
            connection.sendall(head(method, path, "Content-Type: application/json", "Content-Length: 100000"))

        def drip():
            for connection in slow:
                with suppress(ConnectionError):
                    connection.send(b" ")
            return all(is_closed(connection) for connection in slow)

        assert eventually(drip)
    assert httpx.get(f"{url}/health").status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/conversations", "/v1/feedback", "/tokenize"])
def test_a_slow_client_receives_an_error(serving, monkeypatch, path):
    monkeypatch.setattr(timeouts, "RECEIVE_TIMEOUT_SECONDS", 0.3)
    url, _ = serving(ScriptedChatService(store=open_store("sqlite:///:memory:")))
    answer = exchange_raw(url, head("POST", path, "Content-Type: application/json", "Content-Length: 100"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "timeout"


@pytest.mark.parametrize("start", [b"", b"G", b"GET /health HTTP/1.1\r\nHost: local"])
def test_the_time_to_receive_the_headers_is_limited(serving, monkeypatch, start):
    monkeypatch.setattr(timeouts, "RECEIVE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("turnwise.server.h11_protocol.ERROR_SEND_TIMEOUT_SECONDS", 0.2)
    url, _ = serving(ScriptedChatService(), {"keep_alive": 0.4})
    with closing(dial(url)) as connection:
        connection.sendall(start)
        assert eventually(lambda: is_closed(connection))


# Idle clients


def idle_connection(serving, seconds):
    """Return a connection with one complete response; the server closes idle connections after `seconds`."""
    url, _ = serving(ScriptedChatService(), {"keep_alive": seconds})
    connection = dial(url)
    connection.sendall(head("GET", "/health"))
    connection.recv(65536)
    return closing(connection)


@pytest.mark.costly
def test_an_idle_connection_is_closed_after_the_configured_time(serving):
    with idle_connection(serving, 0.2) as connection:
        assert eventually(lambda: is_closed(connection))


@pytest.mark.costly
def test_an_idle_connection_stays_open_until_the_configured_time(serving):
    with idle_connection(serving, 30.0) as connection:
        time.sleep(0.7)
        assert not is_closed(connection)


def test_the_default_keep_alive_is_longer_than_that_of_clients_and_proxies():
    from turnwise.server.uvicorn_server import uvicorn_config

    assert uvicorn_config(create_app({"scripted": ScriptedChatService()}, default="scripted")).timeout_keep_alive >= 90


# Clients that do not read


@pytest.mark.costly
@pytest.mark.parametrize("read_on", [False, True])
def test_a_client_that_does_not_read_is_disconnected_and_its_request_cancelled(serving, read_on):
    chat = ScriptedChatService(endless, delay=0.001)
    url, app = serving(chat, {"send_timeout": 1.0})
    request = json.dumps({**BODY, "stream": True}).encode()
    stalled = dial(url, receive_buffer=4096)
    with closing(stalled):
        stalled.sendall(
            head("POST", "/v1/chat/completions", "Content-Type: application/json", f"Content-Length: {len(request)}")
            + request
        )

        def is_cancelled():
            if read_on:
                stalled.recv(10)  # ten bytes now and then do not count as reading
            return chat.num_cancelled

        assert eventually(is_cancelled, 30)
        assert eventually(lambda: app.state.limiter.num_active == 0)


@pytest.mark.costly
def test_clients_that_do_not_read_do_not_slow_others_down(serving):
    chat = ScriptedChatService(
        lambda chat_request: endless(chat_request) if len(chat.requests) <= 40 else ["Hello."], delay=0.01
    )
    url, _ = serving(chat)
    request = json.dumps({**BODY, "stream": True}).encode()
    with ExitStack() as stack:
        for _ in range(40):
            stalled = stack.enter_context(closing(dial(url, receive_buffer=4096)))
            stalled.sendall(
                head(
                    "POST", "/v1/chat/completions", "Content-Type: application/json", f"Content-Length: {len(request)}"
                )
                + request
            )
        assert eventually(lambda: len(chat.requests) == 40)
        produced = -1
        while produced != chat.num_chunks:  # until the server waits for all of them
            produced = chat.num_chunks
            time.sleep(0.5)
        answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, timeout=10)
        assert answer.json()["choices"][0]["message"]["content"] == "Hello."


def test_a_slow_reader_receives_the_complete_stream(serving):
    chat = ScriptedChatService(["word " * 20_000] * 20)
    url, _ = serving(chat, {"send_timeout": 1.0})
    with httpx.stream("POST", f"{url}/v1/chat/completions", json={**BODY, "stream": True}, timeout=20) as answer:
        text = b""
        for piece in answer.iter_raw(65536):
            time.sleep(0.02)
            text += piece
    assert text.endswith(b"data: [DONE]\n\n")
    assert chat.num_cancelled == 0


# Streams with long pauses


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_starts_before_its_first_token(serving, path):
    url, _ = serving(ScriptedChatService(["Hello"], delay=0.7), sse_keep_alive=0.2)
    body = BODY if "chat" in path else {"model": "scripted", "prompt": "Hello"}
    with httpx.stream("POST", url + path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join(answer.iter_text())
    assert text.startswith(": keep-alive\n\n")
    assert text.count(": keep-alive\n\n") >= 2
    assert text.endswith("data: [DONE]\n\n")


def test_a_stream_sends_comments_between_slow_tokens(serving):
    url, _ = serving(ScriptedChatService(lambda chat_request: iter(["Hello", "you"]), delay=0.5), sse_keep_alive=0.15)
    lines = httpx.post(f"{url}/v1/chat/completions", json={**BODY, "stream": True}).text.split("\n\n")
    hello, you = (next(i for i, line in enumerate(lines) if word in line) for word in ("Hello", "you"))
    assert ": keep-alive" in lines[hello:you]


def test_the_official_client_ignores_the_comments(serving):
    url, _ = serving(ScriptedChatService(["Hello", " you"], delay=0.5), sse_keep_alive=0.1)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        chunks = list(client.chat.completions.create(**BODY, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello you"


@pytest.mark.parametrize(("delay", "status"), [(0.0, 503), (0.6, 200)])
def test_an_error_has_its_own_status_until_the_stream_has_started(serving, delay, status):
    class Failing(ScriptedChatService):
        async def stream(self, chat_request):
            import asyncio

            await asyncio.sleep(delay)
            raise Unavailable("Not now.")
            yield

    url, _ = serving(Failing(), sse_keep_alive=0.2)
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    with client, pytest.raises(openai.APIError, match="Not now") as error:
        list(client.chat.completions.create(**BODY, stream=True))
    assert getattr(error.value, "status_code", 200) == status


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_disconnect_before_the_first_token_cancels_the_request(serving, path):
    chat = ScriptedChatService(endless, delay=5.0)
    url, app = serving(chat, sse_keep_alive=0.1)
    body = BODY if "chat" in path else {"model": "scripted", "prompt": "Hello"}
    with httpx.stream("POST", url + path, json={**body, "stream": True}) as answer:
        next(answer.iter_raw())
    assert eventually(lambda: chat.num_cancelled == 1)
    assert eventually(lambda: app.state.limiter.num_active == 0)


def test_a_response_without_streaming_has_no_comments(serving):
    url, _ = serving(ScriptedChatService(["Hello"], delay=0.5), sse_keep_alive=0.1)
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY).json()["choices"][0]["message"]["content"] == "Hello"


# HTTP/1.1


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/ready", "/v1/models", "/v1/models/scripted", "/metrics"])
def test_head_returns_the_headers_of_get(url, path):
    with httpx.Client(base_url=url) as client:
        got, headed = client.get(path), client.head(path)
        assert client.get("/health").status_code == 200, "the connection goes on"
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers["content-type"] == got.headers["content-type"]
    if path != "/metrics":
        assert headed.headers["content-length"] == got.headers["content-length"]


def test_head_of_an_unknown_path_is_a_404(url):
    assert httpx.head(f"{url}/nothing").status_code == 404
    assert httpx.head(f"{url}/v1/completions").status_code == 405


def test_head_is_counted_with_its_own_method(url):
    httpx.head(f"{url}/health")
    assert 'turnwise_requests_total{method="HEAD",route="/health",status="200"}' in httpx.get(f"{url}/metrics").text


def test_the_request_target_may_be_an_absolute_url(url):
    host = url.removeprefix("http://")
    for target in (f"{url}/v1/models?x=1", f"HTTP://{host}/v1/models"):
        answer = exchange_raw(url, head("GET", target, "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"scripted"' in answer
    assert exchange_raw(url, head("GET", url, "Connection: close")).startswith(b"HTTP/1.1 200 ")


def test_the_host_of_an_absolute_url_is_checked(url):
    answer = exchange_raw(url, head("GET", "http://evil.example/v1/conversations", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_a_request_with_two_lengths_closes_the_connection(url):
    body = json.dumps(BODY).encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    answer = exchange_raw(
        url,
        head("POST", "/v1/chat/completions", "Content-Type: application/json", "Content-Length: 5",
             "Transfer-Encoding: chunked") + chunked,
    )  # fmt: skip
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.lower().count(b"connection: close") == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/conversations", "/tokenize"])
@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity"])
def test_a_compressed_body_is_rejected_with_the_accepted_encoding(url, path, coding):
    answer = httpx.post(url + path, json=BODY, headers={"content-encoding": coding})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == "identity"
    assert (
        httpx.post(url + "/tokenize", content=b"", headers={"content-type": "text/plain"}).headers.get(
            "accept-encoding"
        )
        is None
    )


def test_the_content_encoding_identity_is_accepted(url):
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY, headers={"content-encoding": "identity"}).is_success


def test_a_trailing_slash_lists_the_models(url):
    assert httpx.get(f"{url}/v1/models/").json() == httpx.get(f"{url}/v1/models").json()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/conversations", "/tokenize"])
def test_a_disconnect_while_sending_the_body_is_not_a_server_error(url, path, caplog):
    with closing(dial(url)) as connection:
        connection.sendall(head("POST", path, "Content-Type: application/json", "Content-Length: 100") + b"{")
        time.sleep(0.1)
    line = f'route="{path}",status="499"'
    assert eventually(lambda: line in httpx.get(f"{url}/metrics").text)
    assert "Unexpected" not in caplog.text


def test_the_error_for_a_host_names_the_option_that_allows_it(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.request("GET", "/v1/models", headers={"Host": "chat.example"})
    message = json.loads(connection.getresponse().read())["error"]["message"]
    connection.close()
    assert "Host: localhost" in message
    assert "--allowed-host" in message
    assert "key" in message
