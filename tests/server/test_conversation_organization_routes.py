"""Pins, folders, settings and copies of conversations over HTTP."""

import httpx
import pytest

from turnwise.core.messages import Message


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url) as created:
        yield created


@pytest.fixture
def path(client):
    return f"/v1/conversations/{client.post('/v1/conversations', json={'title': 'Tea'}).json()['id']}"


def listed(client, **params):
    return [entry["title"] for entry in client.get("/v1/conversations", params=params).json()["data"]]


def test_a_conversation_is_pinned_and_unpinned(client, path):
    client.post("/v1/conversations", json={"title": "Other"})
    assert client.patch(path, json={"pinned": True}).json()["pinned"] is True
    assert listed(client, pinned=True) == ["Tea"]
    assert listed(client, pinned=False) == ["Other"]
    client.patch(path, json={"pinned": False})
    assert listed(client, pinned=True) == []


def test_folders_are_created_filled_renamed_and_deleted(client, path):
    folder = client.post("/v1/folders", json={"name": "  My\n work "}).json()
    assert (folder["object"], folder["name"], folder["num_conversations"]) == ("conversation.folder", "My work", 0)
    assert client.patch(path, json={"folder_id": folder["id"]}).json()["folder_id"] == folder["id"]
    created = client.post("/v1/conversations", json={"title": "New", "folder_id": folder["id"]}).json()
    assert created["folder_id"] == folder["id"]
    assert listed(client, folder=folder["id"]) == ["New", "Tea"]
    assert listed(client, folder="") == []
    assert client.patch(f"/v1/folders/{folder['id']}", json={"name": "Work"}).json()["name"] == "Work"
    assert client.patch(path, json={"folder_id": ""}).json()["folder_id"] is None
    [shown] = client.get("/v1/folders").json()["data"]
    assert (shown["name"], shown["num_conversations"]) == ("Work", 1)
    assert client.delete(f"/v1/folders/{folder['id']}").json()["deleted"] is True
    assert sorted(listed(client, folder="")) == ["New", "Tea"]
    for response in (
        client.delete(f"/v1/folders/{folder['id']}"),
        client.patch(f"/v1/folders/{folder['id']}", json={"name": "x"}),
        client.patch(path, json={"folder_id": folder["id"]}),
        client.get("/v1/conversations", params={"folder": folder["id"]}),
    ):
        assert response.status_code == 404
    for name in ("", " ", "x" * 101, None):
        assert client.post("/v1/folders", json={"name": name}).status_code == 400


def test_an_unknown_folder_leaves_the_branch_and_an_unknown_branch_the_folder(client, path, store):
    id = path.rpartition("/")[2]
    old, new = (store.append(id, [Message("user", text)], parent_id=None)[0] for text in ("old", "new"))
    folder = client.post("/v1/folders", json={"name": "Work"}).json()["id"]
    assert client.patch(path, json={"head": old, "folder_id": "folder_x"}).status_code == 404
    assert client.get(path).json()["head"] == new
    assert client.patch(path, json={"head": "msg_x", "folder_id": folder}).status_code == 404
    assert client.get(path).json()["folder_id"] is None
    changed = client.patch(path, json={"head": old, "folder_id": folder, "title": "Both"}).json()
    assert (changed["head"], changed["folder_id"], changed["title"]) == (old, folder, "Both")


def test_settings_are_stored_as_they_are_sent(client, path):
    settings = {"system": "Be brief.", "scenario": "shop", "parameters": {"temperature": 0.3, "stop": ["a"], "n": 2}}
    assert client.patch(path, json={"settings": settings}).json()["settings"] == settings
    assert client.get(path).json()["settings"] == settings
    assert client.patch(path, json={"settings": {"system": None}}).json()["settings"] == {}


@pytest.mark.parametrize(
    ("settings", "param", "message"),
    [
        ({"temperature": 1}, "settings.temperature", "known: model, parameters, scenario, system"),
        ({"parameters": {"temperature": 9}}, "settings.parameters.temperature", "between 0 and 2"),
        ({"parameters": {"temprature": 1}}, "settings.parameters.temprature", "did you mean 'temperature'"),
        ({"parameters": {"messages": []}}, "settings.parameters.messages", "Unknown parameter"),
        ({"parameters": {"answer_tokens": [1]}}, "settings.parameters.answer_tokens", "Unknown parameter"),
        ({"system": 1}, "settings.system", "must be a string"),
        ({"system": "x" * 100_001}, "settings.system", "at most 100000"),
        ([], "settings", "must be an object"),
    ],
)
def test_invalid_settings_are_rejected_by_the_name_of_the_field(client, path, settings, param, message):
    response = client.patch(path, json={"settings": settings, "title": "Changed"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], message in error["message"]) == (param, True), error
    assert client.get(path).json()["title"] == "Tea"


def test_a_copy_continues_from_a_message(client, path, store):
    id = path.rpartition("/")[2]
    ids = store.append(id, [Message("user", "1"), Message("assistant", "2"), Message("user", "3")])
    copy = client.post(f"{path}/fork", json={"message_id": ids[1]}).json()
    assert copy["title"] == "Tea"
    messages = client.get(f"/v1/conversations/{copy['id']}").json()["messages"]
    assert [message["content"] for message in messages] == ["1", "2"]
    assert client.post(f"{path}/fork", json={"message_id": "msg_x"}).status_code == 404
    assert client.post(f"{path}/fork", json={"message_id": ids[0], "title": "Mine"}).json()["title"] == "Mine"


def test_a_search_returns_the_message_with_the_text(client, path, store):
    (message,) = store.append(path.rpartition("/")[2], [Message("user", "Where is the needle?")])
    [result] = client.get("/v1/conversations", params={"query": "NEEDLE"}).json()["data"]
    assert result["match"] == {"message_id": message, "excerpt": "Where is the needle?"}
    assert client.get("/v1/conversations").json()["data"][0]["match"] is None
