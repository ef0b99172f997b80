"""Requests of several clients: keys, limits, turns between tenants, and clients that disconnect."""

import json
import socket
import time
from contextlib import ExitStack

import httpx

from turnwise.chat.classification_service import StepwiseClassificationService
from turnwise.core.classification import LabelScore, TextLabels
from turnwise.core.classification_service import ClassificationResult
from turnwise.server.app import create_app
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread


class EndlessClassifier:
    """Computes for ever if the text is "forever", else one step (implements `StepwiseClassifier`)."""

    def __init__(self):
        self.num_steps = 0

    def classify_in_steps(self, request):
        while request.inputs[0] == "forever":
            self.num_steps += 1
            time.sleep(0.01)
            yield
        return ClassificationResult([TextLabels(("a",), (LabelScore("a", 1.0),))], 1)


def serve(classifier, **settings):
    service = StepwiseClassificationService("slow", 0, "sequence_classification", ("a",), False, 8, classifier)
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", classifiers={"slow": service}, **settings)
    return serve_in_thread(app)


def held_request(url, headers=()):
    """A connection on which a request that never ends was sent."""
    host, port = url.removeprefix("http://").split(":")
    content = json.dumps({"model": "slow", "input": "forever"})
    head = {"Host": host, "Content-Type": "application/json", "Content-Length": len(content), **dict(headers)}
    lines = ["POST /v1/classify HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    connection = socket.create_connection((host, int(port)))
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + content).encode())
    return connection


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return true


def test_classification_needs_the_key_and_counts_as_one_of_its_requests(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    key = keys.create("me", max_concurrent=1)
    classifier = EndlessClassifier()
    with serve(classifier, keys=keys) as url:
        body, headers = {"model": "slow", "input": "Ada"}, {"Authorization": f"Bearer {key}"}
        assert httpx.post(f"{url}/v1/classify", json=body).status_code == 401
        with held_request(url, headers):
            assert eventually(lambda: classifier.num_steps > 0)
            answer = httpx.post(f"{url}/v1/classify", json=body, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_a_disconnect_stops_the_computation_after_the_current_step():
    classifier = EndlessClassifier()
    with serve(classifier) as url:
        with held_request(url):
            assert eventually(lambda: classifier.num_steps > 2)
        metric = 'turnwise_completions_total{finish="cancelled",model="slow"} 1.0'
        assert eventually(lambda: metric in httpx.get(f"{url}/metrics").text)
        stopped_at = classifier.num_steps
        time.sleep(0.1)
        assert classifier.num_steps <= stopped_at + 1


def test_a_tenant_with_many_requests_does_not_keep_another_one_waiting(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    headers = [{"Authorization": f"Bearer {keys.create(name)}"} for name in ("many", "one")]
    classifier = EndlessClassifier()
    with serve(classifier, keys=keys) as url, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(held_request(url, headers[0]))
        assert eventually(lambda: classifier.num_steps > 5)
        before = classifier.num_steps
        answer = httpx.post(f"{url}/v1/classify", json={"model": "slow", "input": "Ada"}, headers=headers[1])
        assert answer.status_code == 200
        assert classifier.num_steps > before, "the others go on"
