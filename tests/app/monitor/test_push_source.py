"""Pushed texts: requests are answered when their texts are stored, and wrong ones are explained."""

import http.client
import json
import select
import socket
import threading

import pytest
from source_batches import RECORDS

from turnwise.app.monitor.sources.push_source import PushSource
from turnwise.core.errors import InvalidParameter, UserError


@pytest.fixture
def push():
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", "token-1")
    yield source
    source.close()


def post(port, body, token="token-1", path="/v1/monitor/texts", kind="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, {"Authorization": f"Bearer {token}", "Content-Type": kind})
    response = connection.getresponse()
    result = response.status, json.loads(response.read())
    connection.close()
    return result


def test_a_request_is_answered_when_its_texts_are_stored(push):
    answers = []
    body = json.dumps({"texts": [{"id": "a", "text": "x", "time": 5}, {"id": "b", "text": "y"}]})
    thread = threading.Thread(target=lambda: answers.append(post(push.port, body)))
    thread.start()
    while not (batch := push.read(None, 1)).texts:
        pass
    assert [(text.id, text.time) for text in batch.texts] == [("s:a", 5.0), ("s:b", 99.0)]
    assert push.read(None, 1).texts == batch.texts, "they are returned until they are stored"
    assert answers == []
    push.confirm(batch.position)
    thread.join()
    assert answers == [(200, {"accepted": 2})]
    assert push.read(None, 1).texts == ()


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        ({"token": "wrong"}, 401, "token"),
        ({"path": "/v1/other"}, 404, "Post to"),
        ({"kind": "text/plain"}, 415, "application/json"),
        ({"body": "{"}, 400, "not readable JSON"),
        ({"body": "[]"}, 400, "should be an object"),
        ({"body": '{"texts": [{"text": "x"}]}'}, 400, "needs a 'text' and an 'id'"),
        ({"body": '{"texts": [{"text": "x", "id": "a", "time": "no"}]}'}, 400, "texts[0] needs"),
    ],
)
def test_wrong_requests_are_explained(push, values, status, message):
    code, answer = post(push.port, **{"body": '{"texts": [{"text": "x", "id": "a"}]}', **values})
    assert code == status
    assert message in answer["error"]["message"]
    assert push.read(None, 1).texts == ()


def exchange(port, request):
    """The answer to raw bytes, until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize(
    ("host", "length", "status"),
    [("127.0.0.1", "9" * 5000, 413), ("127.0.0.1", "\u0665".encode().decode("latin-1"), 411), ("[", "5", 403)],
)
def test_wrong_headers_are_answered_and_print_nothing(capfd, host, length, status):
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", None)
    head = f"POST /v1/monitor/texts HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    answer = exchange(source.port, f"{head}Content-Length: {length}\r\n\r\n".encode("latin-1"))
    source.close()
    assert answer.split()[1] == str(status).encode()
    assert capfd.readouterr().err == ""


def test_a_failure_of_a_connection_prints_nothing(push, capfd):
    push._server.handle_error(None, ("192.0.2.1", 1))
    assert capfd.readouterr().err == ""


def test_a_request_that_trickles_ends_at_the_time_limit(monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.sources.push_source.REQUEST_SECONDS", 0.2)
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", None)
    with socket.create_connection(("127.0.0.1", source.port), timeout=20) as connection:
        for _ in range(500):  # ten seconds: fifty times the limit
            if select.select([connection], [], [], 0.02)[0]:
                break
            connection.sendall(b"x")
        else:
            pytest.fail("the connection is still open")
    source.close()


def test_connections_beyond_the_limit_are_closed_and_free_ones_are_used_again(monkeypatch):
    monkeypatch.setattr("turnwise.app.monitor.sources.push_source.MAX_CONNECTIONS", 2)
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", None)
    waiting = [socket.create_connection(("127.0.0.1", source.port), timeout=20) for _ in range(2)]
    assert exchange(source.port, b"") == b"", "closed without an answer"
    for connection in waiting:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(9) == b"HTTP/1.0 "
        connection.close()
    while source._server._free_connections._value < 2:
        pass
    assert post(source.port, "{}")[0] == 400
    source.close()


def test_an_address_that_others_reach_needs_a_token(push):
    with pytest.raises(InvalidParameter, match="not encrypted"):
        PushSource("http://0.0.0.0:8090", RECORDS, "s", None)
    with pytest.raises(InvalidParameter, match="http://HOST:PORT"):
        PushSource("http://127.0.0.1", RECORDS, "s", None)
    with pytest.raises(UserError, match="Could not listen"):
        PushSource(f"http://127.0.0.1:{push.port}", RECORDS, "s", None)


def test_without_a_token_only_requests_to_this_machine_are_accepted():
    source = PushSource("http://127.0.0.1:0", RECORDS, "s", None)
    connection = http.client.HTTPConnection("127.0.0.1", source.port, timeout=20)
    connection.request("POST", "/v1/monitor/texts", "{}", {"Host": "evil.example", "Content-Type": "application/json"})
    assert connection.getresponse().status == 403
    connection.close()
    assert post(source.port, "{}")[0] == 400
    source.close()
