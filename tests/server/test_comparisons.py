"""`/v1/comparisons`: comparisons of stored completions, and their scores."""

import httpx
import pytest

from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


@pytest.fixture
def client(store):
    services = {name: ScriptedChatService([f"I am {name}."], name=name, store=store) for name in ("ant", "bee")}
    with serve_in_thread(create_app(services, default="ant")) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client, model):
    body = {"model": model, "messages": [{"role": "user", "content": "Who?"}], "store": True}
    return client.post("/v1/chat/completions", json=body).raise_for_status().json()["id"]


def compare(client, verdict="left", **fields):
    left, right = ({"completion_id": ask(client, model)} for model in ("ant", "bee"))
    return client.post("/v1/comparisons", json={"left": left, "right": right, "verdict": verdict, **fields})


def test_a_comparison_is_stored_scored_and_deleted(client, store):
    stored = compare(client, user="ann").raise_for_status().json()
    assert (stored["left"]["model"], stored["right"]["model"], stored["verdict"]) == ("ant", "bee", "left")
    assert client.get("/v1/comparisons").json()["data"] == [stored]
    (score,) = client.get("/v1/comparisons/scores").json()["data"]
    assert (score["first"]["model"], score["wins"], score["losses"], score["win_rate"]) == ("ant", 1, 0, 1.0)
    assert (round(score["low"], 4), score["high"]) == (0.2065, 1.0)
    (answer,) = store.collected_answers.answers("bee")
    assert answer.preferred[0].answer.content == "I am ant."
    assert client.delete(f"/v1/comparisons/{stored['id']}").json()["deleted"] is True
    assert client.get("/v1/comparisons/scores").json()["data"] == []


def test_a_request_with_the_consent_off_stores_nothing(client):
    rejected = compare(client, collect="off")
    assert (rejected.status_code, rejected.json()["error"]["code"]) == (403, "forbidden")
    assert client.get("/v1/comparisons").json()["data"] == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"verdict": "top"}, "verdict"),
        ({"left": {}}, "completion_id"),
        ({"left": {"completion_id": "x", "message_id": "y"}}, "completion_id"),
        ({"left": {"message_id": "y", "index": 1}}, "index"),
        ({"left": {"completion_id": "x", "size": 1}}, "size"),
    ],
)
def test_an_invalid_comparison_is_rejected_by_name(client, fields, message):
    rejected = compare(client, **fields)
    assert rejected.status_code == 400
    assert message in rejected.json()["error"]["message"]


def test_unknown_answers_are_not_found(client):
    left, right = {"completion_id": "chatcmpl-x"}, {"message_id": "msg_x"}
    body = {"left": left, "right": right, "verdict": "left"}
    assert client.post("/v1/comparisons", json=body).status_code == 404
