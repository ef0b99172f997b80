"""The routes over the store."""

import httpx
import pytest

from turnwise.core.messages import Message


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url) as made:
        yield made


def test_the_life_of_a_conversation(client, store):
    made = client.post("/v1/conversations", json={"title": "  Where\n is my order? "}).json()
    assert (made["object"], made["title"], made["model"]) == ("conversation", "Where is my order?", "scripted")
    assert "messages" not in made
    path = f"/v1/conversations/{made['id']}"

    said = [{"role": "user", "content": "Hello 👋"}]
    client.post("/v1/chat/completions", json={"model": "latest", "messages": said, "conversation_id": made["id"]})
    kept = client.get(path).json()
    assert [(m["role"], m["content"]) for m in kept["messages"]] == [("user", "Hello 👋"), ("assistant", "Hello, you.")]
    assert kept["messages"][0]["object"] == "conversation.message"

    changed = client.patch(path, json={"title": "Orders"}).json()
    assert (changed["id"], changed["title"]) == (made["id"], "Orders")
    listed = client.get("/v1/conversations").json()
    assert [c["title"] for c in listed["data"]] == ["Orders"]
    assert "messages" not in listed["data"][0]

    assert client.delete(path).json() == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404
    assert client.patch(path, json={"title": "x"}).status_code == 404
    assert store.list() == []


def test_the_list_is_bounded_by_limit(client, store):
    ids = [store.create(title=str(i), model="scripted").id for i in range(3)]
    assert [c["id"] for c in client.get("/v1/conversations?limit=2").json()["data"]] == ids[:0:-1]


def test_a_conversation_for_a_model_that_is_not_served_is_refused(client, store):
    assert client.post("/v1/conversations", json={"model": "other"}).json()["error"]["code"] == "model_not_found"
    assert store.list() == []


def test_a_broken_store_is_an_explained_500(client, store):
    id = store.create(title="t", model="m").id
    store.append(id, [Message("user", "x")])
    store.close()
    answer = client.get(f"/v1/conversations/{id}")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"].startswith("The conversation store could not be read")
