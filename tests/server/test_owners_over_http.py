"""Random sequences of requests by keys of several roles: no answer has text of another owner."""

import itertools
import re

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

ROLES = {"ada": "user", "bob": "user", "support": "agent", "boss": "admin"}
MARK = re.compile("secret-of-([a-z]+)")


class Office:
    """A server with a key for everybody. Every text contains the name of the owner of its record."""

    def __init__(self, client, headers):
        self.client, self.headers = client, headers
        self.owners = {"conversation": {}, "completion": {}, "response": {}, "handoff": {}}  # owner by id
        self.claims = {}  # by the id of a hand-off

    def request(self, name, method, path, body=None, *, readable=(), **params):
        """Send a request, and check the answer. `readable`: owners whose text it may contain besides that of `name`."""
        answer = self.client.request(method, path, json=body, params=params, headers=self.headers[name])
        assert answer.status_code < 500, answer.text
        marks = set(MARK.findall(answer.text))
        if ROLES[name] != "admin":
            assert marks <= {name, *readable}, f"{name} reads {marks} on {method} {path}"
        return answer

    def pick(self, kind, index):
        """A record of anybody, and its owner."""
        records = list(self.owners[kind].items())
        return records[index % len(records)] if records else (f"{kind}_x", "nobody")

    def check(self, name, owner, answer, *statuses):
        """Records of other owners are not found; own ones, and all for admins, get one of `statuses`."""
        is_reachable = owner != "nobody" and (name == owner or ROLES[name] == "admin")
        assert answer.status_code in (statuses or (200,)) if is_reachable else answer.status_code == 404, answer.text


def on_conversation(method, suffix="", body=None, *statuses):
    def act(office, name, index):
        id, owner = office.pick("conversation", index)
        filled = None if body is None else {**body, **({"title": f"secret-of-{owner}"} if "title" in body else {})}
        answer = office.request(name, method, f"/v1/conversations/{id}{suffix}", filled)
        office.check(name, owner, answer, 200, *statuses)
        return id, owner, answer

    return act


def create_conversation(office, name, index):
    answer = office.request(name, "POST", "/v1/conversations", {"title": f"secret-of-{name} {index}"})
    office.owners["conversation"][answer.json()["id"]] = name


def list_conversations(office, name, index):
    del index
    for query in ("", "secret"):
        data = office.request(name, "GET", "/v1/conversations", query=query, limit=1000).json()["data"]
        assert ROLES[name] == "admin" or {entry["owner"] for entry in data} <= {name}


def delete_conversation(office, name, index):
    id, _, answer = on_conversation("DELETE")(office, name, index)
    if answer.status_code == 200:
        del office.owners["conversation"][id]


def chat(office, name, index):
    id, owner = office.pick("conversation", index)
    messages = [{"role": "user", "content": f"secret-of-{owner} asks {index}"}]
    body = {"model": "latest", "messages": messages, "conversation_id": id}
    office.check(name, owner, office.request(name, "POST", "/v1/chat/completions", body))


def store_completion(office, name, index):
    messages = [{"role": "user", "content": f"secret-of-{name} {index}"}]
    body = {"model": "latest", "messages": messages, "store": True, "metadata": {"team": f"secret-of-{name}"}}
    office.owners["completion"][office.request(name, "POST", "/v1/chat/completions", body).json()["id"]] = name


def read_completion(office, name, index):
    id, owner = office.pick("completion", index)
    office.request(name, "GET", "/v1/chat/completions", limit=100)
    for suffix in ("", "/messages", "/feedback"):
        office.check(name, owner, office.request(name, "GET", f"/v1/chat/completions/{id}{suffix}"))
    update = {"metadata": {"team": f"secret-of-{owner}"}}
    office.check(name, owner, office.request(name, "POST", f"/v1/chat/completions/{id}", update))


def give_feedback(office, name, index):
    id, owner = office.pick("completion", index)
    body = {"completion_id": id, "correction": f"secret-of-{owner}"}
    office.check(name, owner, office.request(name, "POST", "/v1/feedback", body))


def rate_message(office, name, index):
    """Rate the last answer of a conversation of anybody."""
    id, owner = office.pick("conversation", index)
    messages = office.client.get(f"/v1/conversations/{id}", headers=office.headers["boss"]).json().get("messages", [])
    answers = [entry["id"] for entry in messages if entry["role"] == "assistant" and "person" not in entry["meta"]]
    answer_id, owner = (answers[-1], owner) if answers else ("msg_x", "nobody")
    body = {"message_id": answer_id, "rating": "down", "comment": f"secret-of-{owner}"}
    answer = office.request(name, "POST", "/v1/feedback", body)
    office.check(name, owner, answer, 200, 403)  # a notice of a hand-off takes no text
    office.request(name, "GET", "/v1/feedback", limit=100)
    office.check(name, office.owners["conversation"].get(id, "nobody"), office.request(
        name, "GET", f"/v1/conversations/{id}/feedback"
    ))  # fmt: skip


def store_response(office, name, index):
    body = {"model": "latest", "input": f"secret-of-{name} {index}"}
    office.owners["response"][office.request(name, "POST", "/v1/responses", body).json()["id"]] = name


def continue_response(office, name, index):
    id, owner = office.pick("response", index)
    body = {"model": "latest", "input": "go on", "previous_response_id": id, "store": False}
    answer = office.request(name, "POST", "/v1/responses", body)
    is_reachable = owner != "nobody" and (name == owner or ROLES[name] == "admin")
    assert answer.status_code == (200 if is_reachable else 400)


def read_response(office, name, index):
    id, owner = office.pick("response", index)
    for suffix in ("", "/input_items"):
        office.check(name, owner, office.request(name, "GET", f"/v1/responses/{id}{suffix}"))


def open_handoff(office, name, index):
    id, owner, answer = on_conversation("POST", "/handoff", {})(office, name, index)
    if answer.status_code == 200:
        for entry in office.client.get("/v1/handoffs", headers=office.headers["boss"]).json()["data"]:
            if entry["conversation_id"] == id:
                office.owners["handoff"][entry["id"]] = owner


def list_handoffs(office, name, index):
    del index
    answer = office.request(name, "GET", "/v1/handoffs", state="all")
    assert answer.status_code == (403 if ROLES[name] == "user" else 200)


def read_handoff(office, name, index):
    id, owner = office.pick("handoff", index)
    readable = {owner} if ROLES[name] == "agent" else set()
    answer = office.request(name, "GET", f"/v1/handoffs/{id}", readable=readable)
    assert answer.status_code in ((403,) if ROLES[name] == "user" else (200, 404))


def answer_handoff(office, name, index):
    id, owner = office.pick("handoff", index)
    claimed = office.request(name, "POST", f"/v1/handoffs/{id}/claim", {"agent": "Ana"})
    assert claimed.status_code in ((403,) if ROLES[name] == "user" else (200, 404, 409))
    office.claims[id] = claimed.json().get("claim", office.claims.get(id, "unknown"))
    for action in ("messages", ("renew", "return", "close")[index % 3]):
        body = {"claim": office.claims[id], **({"text": f"secret-of-{owner}"} if action == "messages" else {})}
        answer = office.request(name, "POST", f"/v1/handoffs/{id}/{action}", body)
        assert answer.status_code in ((403,) if ROLES[name] == "user" else (200, 404, 409))


ACTIONS = [
    create_conversation, create_conversation, list_conversations, delete_conversation, chat, chat, store_completion,
    read_completion, give_feedback, rate_message, store_response, continue_response, read_response, open_handoff,
    open_handoff, list_handoffs, read_handoff, answer_handoff,
    on_conversation("GET"), on_conversation("PATCH", "", {"title": ""}), on_conversation("GET", "?tree=true"),
    on_conversation("DELETE", "/handoff", None, 404, 409), on_conversation("GET", "/handoff", None, 404),
]  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    keys = SqliteKeyStore(tmp_path_factory.mktemp("keys") / "keys.db")
    headers = {
        name: {"Authorization": f"Bearer {keys.create(name, role=role, consent='full')}"}
        for name, role in ROLES.items()
    }
    store = open_store("sqlite:///:memory:")
    chat = ScriptedChatService(lambda request: (f"You said: {request.messages[-1].content}",), store=store)
    with (
        serve_in_thread(create_app({"scripted": chat}, default="scripted", keys=keys)) as url,
        httpx.Client(base_url=url, timeout=60) as opened,
    ):
        yield opened, headers
    store.close()


@pytest.mark.costly
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(ROLES)), st.sampled_from(ACTIONS), st.integers(0, 9)), min_size=10, max_size=40
    )
)
def test_nobody_reads_the_text_of_another_owner(client, steps):
    office = Office(*client)
    for name, action, index in steps:
        action(office, name, index)


@pytest.mark.costly
def test_every_action_on_every_record_by_everybody(client):
    """The same with an order in which all records exist, so that no action is left out."""
    office = Office(*client)
    for name, action in itertools.product(ROLES, (create_conversation, store_completion, store_response)):
        action(office, name, 1)
    for index, name in itertools.product(range(4), ROLES):
        open_handoff(office, name, index)
    assert set(office.owners["handoff"].values()) == set(ROLES)
    actions = [action for action in ACTIONS if action is not delete_conversation]
    for index, name, action in itertools.product(range(4), ROLES, actions):
        action(office, name, index)
