"""`/v1/datasets`: data sets are added, listed, looked at, checked and deleted, over a real socket."""

import json
import logging
import time

import httpx
import pytest

from turnwise.app.datasets.dataset_library import FolderDatasetLibrary
from turnwise.server.app import create_app
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

PATH = "/v1/datasets"
EXAMPLE = "example_dialogues.jsonl"
MAX_BYTES = 50_000


def dialogue(question, answer="Yes."):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def jsonl(*rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="module")
def client(server_folder):
    with FolderDatasetLibrary(server_folder) as library:
        services = {"scripted": ScriptedChatService()}
        app = create_app(services, default="scripted", datasets=library, dataset_limit=MAX_BYTES)
        with serve_in_thread(app) as url, httpx.Client(base_url=url, timeout=30) as opened:
            yield opened


@pytest.fixture
def add(client):
    names = []

    def add_dataset(name, *rows):
        response = client.post(PATH, params={"filename": name}, content=jsonl(*rows))
        names.append(name)
        return response.raise_for_status().json()

    yield add_dataset
    for name in names:
        client.delete(f"{PATH}/{name}")


def completed_check(client, name):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        check = client.get(f"{PATH}/{name}/check").json()
        if check["status"] != "in_progress":
            return check
        time.sleep(0.01)
    raise AssertionError("the check did not end")


def indexes(client, name, **query):
    page = client.get(f"{PATH}/{name}/dialogues", params=query).raise_for_status().json()
    return [row["index"] for row in page["data"]], page["next_offset"]


def test_an_added_data_set_is_listed_and_a_deleted_one_is_not(client, add):
    added = add("Tea 茶.jsonl", dialogue("Hi"))
    assert added == {
        "id": "Tea 茶.jsonl", "object": "dataset", "bytes": len(jsonl(dialogue("Hi"))), "created": added["created"],
        "bundled": False,
    }  # fmt: skip
    assert abs(added["created"] - time.time()) < 60
    assert [entry["id"] for entry in client.get(PATH).json()["data"]] == ["Tea 茶.jsonl", EXAMPLE]
    assert client.get(f"{PATH}/Tea 茶.jsonl").json() == added
    path = f"{PATH}/Tea 茶.jsonl"
    assert client.delete(path).json() == {"id": "Tea 茶.jsonl", "object": "dataset.deleted", "deleted": True}
    for response in (client.get(path), client.delete(path), client.get(f"{path}/check")):
        assert response.status_code == 404
    refused = client.delete(f"{PATH}/{EXAMPLE}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")


def test_a_data_set_can_be_sent_as_a_form(client):
    files = {"file": ("chats.csv", b"question,answer\nTea?,Yes.\n")}
    assert client.post(PATH, files=files).json()["id"] == "chats.csv"
    (row,) = client.get(f"{PATH}/chats.csv/dialogues").json()["data"]
    assert [message["content"] for message in row["messages"]] == ["Tea?", "Yes."]
    client.delete(f"{PATH}/chats.csv")


@pytest.mark.parametrize(
    ("query", "content", "status", "code", "sentence"),
    [
        ({}, b"x", 400, "missing_required_parameter", "'filename' is required"),
        ({"filename": "a.jsonl"}, b"", 400, "missing_required_parameter", "'body' is required"),
        ({"filename": "a.jsonl"}, b'{"colour": 3}', 400, "invalid_data", "a.jsonl: No known data format fits"),
        ({"filename": EXAMPLE}, jsonl(dialogue("Hi")), 400, "invalid_parameter", "There is a data set"),
        ({"filename": ".hidden"}, jsonl(dialogue("Hi")), 400, "invalid_parameter", "not allowed"),
        ({"filename": "a.jsonl"}, b"x" * (MAX_BYTES + 1), 413, "body_too_large", "larger than the 50,000 bytes"),
    ],
)
def test_what_cannot_be_a_data_set_is_refused_with_a_sentence(client, query, content, status, code, sentence):
    refused = client.post(PATH, params=query, content=content)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    assert sentence in refused.json()["error"]["message"]
    assert [entry["id"] for entry in client.get(PATH).json()["data"]] == [EXAMPLE]


def test_a_name_loses_its_folders(client, server_folder):
    added = client.post(PATH, params={"filename": "../../etc/a.jsonl"}, content=jsonl(dialogue("Hi"))).json()
    assert added["id"] == "a.jsonl"
    assert (server_folder / "a.jsonl").is_file()
    client.delete(f"{PATH}/a.jsonl")


def test_dialogues_are_paged_searched_and_listed_by_finding(client, add):
    add("a.jsonl", *(dialogue("Same" if index > 6 else f"Tea {index}") for index in range(10)))
    check = completed_check(client, "a.jsonl")
    assert (check["status"], check["share"], check["rows"], check["error"]) == ("completed", 1.0, 10, None)
    (finding,) = check["report"]["findings"]
    assert (finding["kind"], finding["severity"], finding["count"], finding["rows"]) == (
        "exact duplicates",
        "warning",
        2,
        3,
    )
    assert check["report"]["lengths"]["turns per dialogue"] == {"min": 2, "median": 2, "p90": 2, "max": 2, "total": 20}
    assert indexes(client, "a.jsonl", limit=4) == ([0, 1, 2, 3], 4)
    assert indexes(client, "a.jsonl", limit=4, offset=8) == ([8, 9], None)
    assert indexes(client, "a.jsonl", query="tea", limit=5) == ([0, 1, 2, 3, 4], 5)
    assert indexes(client, "a.jsonl", query="tea", offset=5) == ([5, 6], None)
    assert indexes(client, "a.jsonl", finding="exact duplicates", limit=2) == ([7, 8], 2)
    page = client.get(f"{PATH}/a.jsonl/dialogues", params={"limit": 1}).json()
    assert page["data"] == [
        {
            "object": "dataset.dialogue", "index": 0, "line": 1, **dialogue("Tea 0"), "rejected": [], "tools": [],
            "rating": None, "text": None, "meta": {}, "problem": None,
        }
    ]  # fmt: skip
    assert (page["total"], page["complete"], page["stopped_early"]) == (10, True, False)


@pytest.mark.parametrize(
    ("query", "status", "name"),
    [
        ({"limit": 101}, 400, "limit"),
        ({"offset": -1}, 400, "offset"),
        ({"query": ""}, 400, "query"),
        ({"query": "x", "finding": "leaks"}, 400, "finding"),
        ({"finding": "leaks"}, 404, "leaks"),
    ],
)
def test_an_invalid_page_is_refused(client, query, status, name):
    completed_check(client, EXAMPLE)
    refused = client.get(f"{PATH}/{EXAMPLE}/dialogues", params=query)
    assert refused.status_code == status
    assert name in refused.json()["error"]["message"]


@pytest.mark.parametrize("path", ["x.jsonl", "..%2F..%2Fetc%2Fpasswd", ".index", "%2e%2e"])
def test_what_is_not_in_the_list_does_not_exist(client, path):
    for suffix in ("", "/check", "/dialogues"):
        assert client.get(f"{PATH}/{path}{suffix}").status_code in (404, 405)


def test_texts_and_searches_are_not_logged(client, add, caplog):
    with caplog.at_level(logging.DEBUG):
        add("a.jsonl", dialogue("My number is 5550199."))
        completed_check(client, "a.jsonl")
        assert indexes(client, "a.jsonl", query="5550199") == ([0], None)
    records = [record for record in caplog.records if record.name.startswith("turnwise")]
    assert records
    assert "5550199" not in "".join(record.getMessage() for record in records)


def test_a_server_without_a_library_has_an_empty_list():
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as url:
        assert httpx.get(f"{url}/v1/datasets").json() == {"object": "list", "data": []}
        assert httpx.post(f"{url}/v1/datasets", params={"filename": "a.jsonl"}, content=b"x").status_code == 404
        assert httpx.get(f"{url}/v1/datasets/{EXAMPLE}").status_code == 404


def test_only_admins_reach_data_sets(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    headers = {role: {"Authorization": f"Bearer {keys.create(role, role=role)}"} for role in ("user", "agent", "admin")}
    with FolderDatasetLibrary(tmp_path / "datasets") as library:
        app = create_app({"scripted": ScriptedChatService()}, default="scripted", datasets=library, keys=keys)
        with serve_in_thread(app) as url:
            statuses = {
                role: httpx.get(f"{url}/v1/datasets/{EXAMPLE}/dialogues", headers=headers[role]).status_code
                for role in headers
            }
            assert httpx.get(f"{url}/data").status_code == 200
    assert statuses == {"user": 403, "agent": 403, "admin": 200}
