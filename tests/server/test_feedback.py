"""`/v1/feedback` on messages and completions, and the consent of keys, requests and the server."""

import time
from contextlib import contextmanager

import httpx
import pytest

from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

HELLO = [{"role": "user", "content": "Hello"}]


class Client:
    """Sends requests of one key."""

    def __init__(self, url, key=""):
        self.url, self.headers = url, {"Authorization": f"Bearer {key}"} if key else {}

    def request(self, method, path, body):
        return httpx.request(method, self.url + path, json=body, headers=self.headers)

    def send(self, method, path, status=200, **body):
        answer = self.request(method, path, body or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    def ask(self, **fields):
        """A chat in a new conversation; returns the stored answer."""
        id = self.send("POST", "/v1/conversations", title="")["id"]
        self.send("POST", "/v1/chat/completions", model="latest", messages=HELLO, conversation_id=id, **fields)
        return self.send("GET", f"/v1/conversations/{id}")["messages"][-1]

    def rate(self, status=200, **body):
        return self.send("POST", "/v1/feedback", status, **body)


@pytest.fixture
def client(url):
    return Client(url)


def test_an_answer_of_a_conversation_is_rated_listed_and_unrated(client):
    answer = client.ask(user="ann")
    given = client.rate(message_id=answer["id"], rating="down", tags=["Too long", "wrong"], user="ann")
    assert (given["rating"], given["tags"], given["message_id"], given["completion_id"]) == (
        "down", ["too_long", "wrong"], answer["id"], None,
    )  # fmt: skip
    assert client.send("GET", "/v1/feedback")["data"] == [given]
    conversation = client.send("GET", "/v1/conversations")["data"][0]["id"]
    assert client.send("GET", f"/v1/conversations/{conversation}/feedback") == [given]
    assert client.send("DELETE", f"/v1/feedback/{given['id']}")["deleted"]
    assert client.send("GET", "/v1/feedback")["data"] == []
    client.send("DELETE", f"/v1/feedback/{given['id']}", 404)


def test_the_store_collects_what_was_said_over_http(client, store):
    answer = client.ask(user="ann")
    client.rate(message_id=answer["id"], rating="down", correction="Good morning.", user="bob")
    (collected,) = store.collected_answers.answers()
    assert (collected.contributor, collected.model) == ("local/user:ann", "scripted")
    assert [message.content for message in collected.history] == ["Hello"]
    assert collected.preferred[0].answer.content == "Good morning."
    assert collected.contributors == {"local/user:ann", "local/user:bob"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"rating": "up"}, "completion_id"),
        ({"rating": "up", "message_id": "m", "completion_id": "c"}, "completion_id"),
        ({"rating": "up", "message_id": "m", "index": 1}, "index"),
        ({"message_id": "m"}, "rating"),
        ({"message_id": "m", "tags": ["a/b"]}, "tags"),
        ({"message_id": "m", "tags": "wrong"}, "tags"),
        ({"message_id": "m", "rating": "up", "collect": "some"}, "collect"),
    ],
)
def test_an_invalid_body_names_the_field(client, body, param):
    assert client.rate(400, **body)["error"]["param"] == param


def test_the_consent_of_a_request_is_stored_and_limits_feedback(client, store):
    off, metadata = client.ask(collect="off"), client.ask(collect="metadata")
    assert (off["meta"]["consent"], metadata["meta"]["consent"]) == ("off", "metadata")
    assert client.rate(403, message_id=off["id"], rating="up")["error"]["code"] == "forbidden"
    client.rate(message_id=metadata["id"], rating="up")
    client.rate(403, message_id=metadata["id"], comment="x")
    full = client.ask()
    client.rate(403, message_id=full["id"], comment="x", collect="metadata")
    assert list(store.collected_answers.answers()) == []


def test_completions_and_responses_store_consent_and_user(client, store):
    sent = client.send(
        "POST", "/v1/chat/completions", model="latest", messages=HELLO, store=True, safety_identifier="s1",
        collect="metadata",
    )  # fmt: skip
    stored = store.completions.get(sent["id"])
    assert (stored.user, stored.consent) == ("s1", "metadata")
    response = client.send("POST", "/v1/responses", model="latest", input="Hello", user="ann", collect="off")
    kept = store.responses.get(response["id"])
    assert (kept.user, kept.consent) == ("ann", "off")


@contextmanager
def serving(tmp_path, collect, **key_options):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    key = keys.create("ada", **key_options)
    store = open_store("sqlite:///:memory:")
    app = create_app({"scripted": ScriptedChatService(store=store)}, default="scripted", keys=keys, collect=collect)
    with serve_in_thread(app) as url:
        yield Client(url, key)
    store.close()


@pytest.mark.parametrize(
    ("server", "key", "request_", "stored"),
    [
        ("full", {}, "full", "metadata"),
        ("full", {"consent": "full"}, None, "full"),
        ("metadata", {"consent": "full"}, "full", "metadata"),
        ("full", {"consent": "full"}, "off", "off"),
        ("off", {"consent": "full"}, None, "off"),
    ],
)
def test_the_strictest_consent_of_server_key_and_request_holds(tmp_path, server, key, request_, stored):
    with serving(tmp_path, server, **key) as client:
        fields = {} if request_ is None else {"collect": request_}
        assert client.ask(**fields)["meta"]["consent"] == stored


def test_feedback_obeys_the_key_that_gives_it(tmp_path):
    """The key was replaced by one with a stricter consent after the answer."""
    with serving(tmp_path, "full", consent="full") as client:
        answer = client.ask()
        keys = SqliteKeyStore(tmp_path / "keys.db")
        keys.revoke("ada")
        client = Client(client.url, keys.create("ada", consent="metadata"))
        for _ in range(40):  # the server applies a change within a second
            response = client.request("POST", "/v1/feedback", {"message_id": answer["id"], "comment": "x"})
            if response.status_code != 401:
                break
            time.sleep(0.05)
        assert response.status_code == 403
