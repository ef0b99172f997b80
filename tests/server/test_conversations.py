"""The routes of stored conversations."""

import httpx
import pytest

from turnwise.core.messages import Message


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url) as created:
        yield created


def test_a_conversation_is_created_continued_renamed_and_deleted(client, store):
    created = client.post("/v1/conversations", json={"title": "  Where\n is my order? "}).json()
    assert (created["object"], created["title"], created["model"]) == ("conversation", "Where is my order?", "scripted")
    assert "messages" not in created
    path = f"/v1/conversations/{created['id']}"

    messages = [{"role": "user", "content": "Hello 👋"}]
    client.post(
        "/v1/chat/completions", json={"model": "latest", "messages": messages, "conversation_id": created["id"]}
    )
    stored = client.get(path).json()
    assert [(m["role"], m["content"]) for m in stored["messages"]] == [
        ("user", "Hello 👋"),
        ("assistant", "Hello, you."),
    ]
    assert stored["messages"][0]["object"] == "conversation.message"

    changed = client.patch(path, json={"title": "Orders"}).json()
    assert (changed["id"], changed["title"]) == (created["id"], "Orders")
    listed = client.get("/v1/conversations").json()
    assert [c["title"] for c in listed["data"]] == ["Orders"]
    assert "messages" not in listed["data"][0]

    assert client.delete(path).json() == {"id": created["id"], "object": "conversation.deleted", "deleted": True}
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404
    assert client.patch(path, json={"title": "x"}).status_code == 404
    assert store.list() == []


def test_the_list_has_at_most_limit_conversations(client, store):
    ids = [store.create(title=str(i), model="scripted").id for i in range(3)]
    page = client.get("/v1/conversations?limit=2").json()
    assert [c["id"] for c in page["data"]] == ids[:0:-1]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[2], ids[1], True)
    rest = client.get("/v1/conversations", params={"limit": 2, "after": page["last_id"]}).json()
    assert ([c["id"] for c in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    beyond = client.get("/v1/conversations", params={"after": ids[0]}).json()
    assert (beyond["data"], beyond["first_id"], beyond["last_id"], beyond["has_more"]) == ([], None, None, False)
    assert client.get("/v1/conversations?after=conv_nowhere").status_code == 404


def test_the_list_is_filtered_by_a_query(client, store):
    ids = [store.create(title=title, model="scripted").id for title in ("Tea & cakes", "Lamps")]
    store.append(ids[1], [Message("user", "Is the TEA ready?")])
    assert [c["id"] for c in client.get("/v1/conversations", params={"query": "tea"}).json()["data"]] == ids[::-1]
    assert [c["id"] for c in client.get("/v1/conversations", params={"query": "& c"}).json()["data"]] == ids[:1]


def test_branches_are_listed_and_selected_by_the_head(client, store):
    path = f"/v1/conversations/{store.create(title='t', model='scripted').id}"
    for text in ("one", "two"):
        client.post("/v1/chat/completions", json={
            "model": "latest", "messages": [{"role": "user", "content": text}], "conversation_id": path.split("/")[-1],
        })  # fmt: skip
    shown = client.get(path).json()
    assert [m["content"] for m in shown["messages"]] == ["two", "Hello, you."]
    assert shown["head"] == shown["messages"][-1]["id"]
    assert shown["messages"][1]["parent_id"] == shown["messages"][0]["id"]
    first, second = shown["messages"][0]["sibling_ids"]
    assert second == shown["messages"][0]["id"]
    assert shown["tree"] is None
    tree = client.get(path, params={"tree": True}).json()["tree"]
    assert [m["content"] for m in tree] == ["one", "Hello, you.", "two", "Hello, you."]

    branch = client.patch(path, json={"head": first}).json()
    assert [m["content"] for m in branch["messages"]] == ["one", "Hello, you."]
    assert client.get(path).json()["head"] == branch["head"] == branch["messages"][1]["id"]
    assert client.patch(path, json={"head": "msg_nowhere"}).status_code == 404
    refused = client.patch(path, json={})
    assert refused.status_code == 400
    assert "'title' or a 'head'" in refused.json()["error"]["message"]


def test_a_conversation_with_an_unknown_model_is_rejected(client, store):
    assert client.post("/v1/conversations", json={"model": "other"}).json()["error"]["code"] == "model_not_found"
    assert store.list() == []


def test_a_store_failure_is_a_500_with_a_message(client, store):
    id = store.create(title="t", model="m").id
    store.append(id, [Message("user", "x")])
    store.close()
    answer = client.get(f"/v1/conversations/{id}")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"].startswith("The conversation store could not be read")
