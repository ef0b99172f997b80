"""Hand-offs over HTTP: the queue, the conversation with a person, long polls of both sides, and keys."""

import threading

import httpx
import pytest

from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.store import open_key_store, open_store
from turnwise.store.sqlite.handoff_store import SqliteHandoffStore
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"sqlite:///{tmp_path / 'chats.db'}")
    yield opened
    opened.close()


@pytest.fixture
def client(store):
    app = create_app({"scripted": ScriptedChatService(store=store)}, default="scripted")
    with serve_in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


@pytest.fixture
def conversation(store):
    id = store.create(title="Broken lamp", model="scripted").id
    store.append(id, [Message("system", "secret instruction"), Message("user", "My lamp is broken.")])
    return id


def request_person(client, conversation, **body):
    response = client.post(f"/v1/conversations/{conversation}/handoff", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def post(client, path, **body):
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def queue(client, **params):
    return client.get("/v1/handoffs", params=params).json()


def test_a_customer_waits_talks_to_a_person_and_goes_back_to_the_model(client, conversation):
    opened = request_person(client, conversation)
    assert (opened["state"], opened["speaker"]) == ("waiting", "nobody")
    assert [message["author"] for message in opened["messages"]] == ["notice"]
    (entry,) = queue(client)["data"]
    assert entry["conversation_id"] == conversation
    assert "claim" not in entry, "the list does not tell the secret of a claim"
    path = f"/v1/handoffs/{entry['id']}"

    claim = post(client, f"{path}/claim", agent="  Ana \n Lima ")["claim"]
    post(client, f"{path}/messages", claim=claim, text="Hello, which lamp?")
    detail = client.get(path).json()
    assert (detail["state"], detail["agent"]) == ("claimed", "Ana Lima")
    assert [(message["author"], message["name"], message["text"]) for message in detail["messages"]] == [
        ("customer", None, "My lamp is broken."),
        ("notice", None, "I am connecting you with a person. You can keep writing here; they will read all of it."),
        ("notice", None, "Ana Lima has joined the conversation."),
        ("person", "Ana Lima", "Hello, which lamp?"),
    ], "without the system prompt"

    post(client, f"{path}/return", claim=claim)
    seen = client.get(f"/v1/conversations/{conversation}/handoff").json()
    assert (seen["state"], seen["speaker"]) == ("returned", "model")
    assert seen["messages"][-1]["text"] == "Ana Lima has left the conversation. The assistant answers again."
    assert queue(client)["data"] == []
    assert [entry["state"] for entry in queue(client, state="all")["data"]] == ["returned"]


def test_only_the_person_with_the_claim_acts(client, conversation):
    request_person(client, conversation)
    path = f"/v1/handoffs/{queue(client)['data'][0]['id']}"
    claim = post(client, f"{path}/claim", agent="Ana")["claim"]
    for action, body in (
        ("claim", {"agent": "Ana"}), ("renew", {"claim": "x"}), ("messages", {"claim": "x", "text": "Hi"}),
        ("return", {"claim": "x"}), ("close", {"claim": "x"}),
    ):  # fmt: skip
        refused = client.post(f"{path}/{action}", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "handoff_conflict")
        assert "Ana is speaking" in refused.json()["error"]["message"]
    assert post(client, f"{path}/claim", agent="Ana", claim=claim)["claim"] == claim
    assert post(client, f"{path}/renew", claim=claim)["state"] == "claimed"
    assert post(client, f"{path}/close", claim=claim)["state"] == "closed"


def test_a_customer_can_leave_the_queue(client, conversation):
    request_person(client, conversation, language="zh")
    cancelled = client.delete(f"/v1/conversations/{conversation}/handoff").json()
    assert (cancelled["state"], cancelled["messages"][-1]["text"]) == ("cancelled", "现在由智能助手继续为您服务。")
    assert client.delete(f"/v1/conversations/{conversation}/handoff").status_code == 409


def test_a_second_request_for_a_person_joins_the_first(client, conversation):
    first = request_person(client, conversation)
    assert request_person(client, conversation)["revision"] == first["revision"]
    assert len(queue(client, state="all")["data"]) == 1


def test_long_polls_of_both_sides_answer_when_something_happens(client, store, conversation):
    revision = request_person(client, conversation)["revision"]
    handoff = queue(client)
    id = handoff["data"][0]["id"]
    paths = ["/v1/handoffs", f"/v1/handoffs/{id}", f"/v1/conversations/{conversation}/handoff"]
    answers = {}

    def poll(path, after):
        answers[path] = client.get(path, params={"after": after, "wait": 25}).json()

    threads = [
        threading.Thread(target=poll, args=(path, after))
        for path, after in zip(paths, [handoff["revision"], revision, revision], strict=True)
    ]
    for thread in threads:
        thread.start()
    assert post(client, f"/v1/handoffs/{id}/claim", agent="Ana")["state"] == "claimed"
    for thread in threads:
        thread.join(20)
    assert answers[paths[0]]["data"][0]["agent"] == "Ana"
    assert answers[paths[1]]["messages"][-1]["text"] == "Ana has joined the conversation."
    assert answers[paths[2]]["speaker"] == "person"


def test_a_long_poll_without_news_ends(client, conversation):
    revision = request_person(client, conversation)["revision"]
    path = f"/v1/conversations/{conversation}/handoff"
    unchanged = client.get(path, params={"after": revision, "wait": 0.1})
    assert unchanged.json()["revision"] == revision


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("GET", "/v1/handoffs/handoff_x", None, 404, None),
        ("POST", "/v1/handoffs/handoff_x/claim", {"agent": "Ana"}, 404, None),
        ("POST", "/v1/handoffs/handoff_x/claim", {"agent": " \n"}, 400, "agent"),
        ("POST", "/v1/handoffs/handoff_x/claim", {"agent": "Ana", "claim": "guessed"}, 400, "claim"),
        ("POST", "/v1/handoffs/handoff_x/messages", {"claim": "c", "text": "  "}, 400, "text"),
        ("POST", "/v1/handoffs/handoff_x/messages", {"claim": "c", "text": "x" * 20_001}, 400, "text"),
        ("POST", "/v1/handoffs/handoff_x/return", {"claim": "c", "why": 1}, 400, "why"),
        ("GET", "/v1/handoffs?wait=60", None, 400, None),
        ("GET", "/v1/conversations/conv_x/handoff", None, 404, None),
        ("POST", "/v1/conversations/conv_x/handoff", {}, 404, None),
    ],
)
def test_wrong_requests_get_a_sentence(client, method, path, body, status, param):
    refused = client.request(method, path, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)
    assert len(refused.json()["error"]["message"]) > 20


def test_a_conversation_without_a_handoff_says_so(client, conversation):
    refused = client.get(f"/v1/conversations/{conversation}/handoff")
    assert refused.status_code == 404
    assert "has no hand-off" in refused.json()["error"]["message"]


@pytest.mark.costly
def test_the_handoff_of_a_customer_is_hidden_from_other_keys_and_not_from_agents(store, tmp_path):
    keys = open_key_store(f"sqlite:///{tmp_path / 'keys.db'}")
    roles = {"shop": "user", "thief": "user", "support": "agent"}
    headers = {name: {"Authorization": f"Bearer {keys.create(name, role=role)}"} for name, role in roles.items()}
    app = create_app({"scripted": ScriptedChatService(store=store)}, default="scripted", keys=keys)
    with serve_in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        assert client.get("/v1/handoffs").status_code == 401
        conversation = client.post("/v1/conversations", json={}, headers=headers["shop"]).json()["id"]
        path = f"/v1/conversations/{conversation}/handoff"
        assert client.post(path, json={}, headers=headers["shop"]).status_code == 200
        for name in ("thief", "support"):
            for method, body in (("GET", None), ("POST", {}), ("DELETE", None)):
                refused = client.request(method, path, json=body, headers=headers[name])
                assert refused.status_code == 404
                assert "There is no conversation" in refused.json()["error"]["message"]
        assert client.get(path, headers=headers["shop"]).json()["state"] == "waiting"
        (entry,) = client.get("/v1/handoffs", headers=headers["support"]).json()["data"]
        assert client.get(f"/v1/handoffs/{entry['id']}", headers=headers["support"]).json()["messages"]
        refused = client.get(f"/v1/handoffs/{entry['id']}", headers=headers["shop"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_role")


def test_a_long_poll_reads_no_messages_until_there_is_news(client, conversation, monkeypatch):
    revision = request_person(client, conversation)["revision"]
    listed = queue(client)
    id = listed["data"][0]["id"]
    reads = []
    for name in ("messages", "get", "list"):
        method = getattr(SqliteHandoffStore, name)
        monkeypatch.setattr(
            SqliteHandoffStore, name, lambda *args, _m=method, _n=name, **kw: reads.append(_n) or _m(*args, **kw)
        )
    for path, after, expected in (
        ("/v1/handoffs", listed["revision"], ["list"]),
        (f"/v1/handoffs/{id}", revision, ["get", "messages"]),
        (f"/v1/conversations/{conversation}/handoff", revision, ["messages"]),
    ):
        reads.clear()
        assert client.get(path, params={"after": after, "wait": 0.8}).json()["revision"] == after
        assert reads == expected, "once, at the end"
