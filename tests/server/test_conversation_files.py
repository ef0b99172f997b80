"""Export and import of conversations over HTTP."""

import json
import threading
import time

import httpx
import pytest

from turnwise.app.conversation_files import LocalConversationFiles
from turnwise.core.errors import Unavailable
from turnwise.core.executors import STORE_WRITE_EXECUTOR
from turnwise.core.messages import Message
from turnwise.server import imported_conversations
from turnwise.server.app import create_app
from turnwise.server.imported_conversations import prepare_trees
from turnwise.server.routes import conversation_files
from turnwise.store import open_store
from turnwise.store.sqlite.conversation_store import SqliteConversationStore
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture(scope="module")
def services():
    return {"scripted": ScriptedChatService()}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return SqliteKeyStore(tmp_path_factory.mktemp("keys") / "keys.db")


@pytest.fixture(scope="module")
def headers(keys):
    secrets = {name: keys.create(name, role="user") for name in ("ada", "bob")}
    secrets["carl"] = keys.create("carl", role="user", consent="full")
    return {name: {"Authorization": f"Bearer {secret}"} for name, secret in secrets.items()}


@pytest.fixture(scope="module")
def address(services, keys, headers):
    app = create_app(services, default="scripted", conversation_files=LocalConversationFiles(), keys=keys)
    with serve_in_thread(app) as url:
        yield url


@pytest.fixture
def store(services):
    opened = open_store("sqlite:///:memory:")
    services["scripted"] = ScriptedChatService(store=opened)
    yield opened
    opened.close()


@pytest.fixture
def ada(address, headers, store):
    with httpx.Client(base_url=address, headers=headers["ada"]) as client:
        yield client


@pytest.fixture
def bob(address, headers, store):
    with httpx.Client(base_url=address, headers=headers["bob"]) as client:
        yield client


@pytest.fixture
def carl(address, headers, store):
    """A user whose key allows the collection of texts."""
    with httpx.Client(base_url=address, headers=headers["carl"]) as client:
        yield client


def create(client, store, title, *texts):
    id = client.post("/v1/conversations", json={"title": title}).json()["id"]
    store.append(id, [Message("user", text) for text in texts])
    return id


def upload(client, content, name="chats.jsonl", **params):
    return client.post("/v1/conversations/import", params={"filename": name, **params}, content=content)


def row(*texts, **fields):
    messages = [
        {"id": str(i), "parent_id": str(i - 1) if i else None, "role": "user", "content": text}
        for i, text in enumerate(texts)
    ]
    return json.dumps({"object": "turnwise.conversation", "messages": messages, **fields})


def test_all_conversations_of_a_key_are_exported_and_imported_by_another(ada, bob, store):
    for number in range(5):
        create(ada, store, f"Chat {number}", f"text {number}")
    create(bob, store, "Bob's", "secret")
    exported = ada.post("/v1/conversations/export", json={})
    assert exported.headers["content-type"].startswith("application/jsonl")
    assert [json.loads(line)["title"] for line in exported.text.splitlines()] == [f"Chat {n}" for n in (4, 3, 2, 1, 0)]
    assert "secret" not in exported.text
    report = upload(bob, exported.content).json()
    assert (report["format"], len(report["ids"]), report["num_messages"]) == ("turnwise", 5, 5)
    copy = bob.get(f"/v1/conversations/{report['ids'][0]}").json()
    assert (copy["title"], copy["owner"]) == ("Chat 4", "bob")
    assert copy["messages"][0]["meta"] == {"consent": "off", "imported": True}
    again = upload(bob, exported.content).json()
    assert (again["ids"], again["known_ids"]) == ([], report["ids"])
    assert upload(ada, exported.content).json()["ids"] == [], "they are still there"


def test_one_conversation_is_exported_as_markdown(ada, bob, store):
    id = create(ada, store, "Tea", "Is there **tea**?")
    answer = ada.post("/v1/conversations/export", json={"ids": [id], "format": "markdown"})
    assert answer.headers["content-type"].startswith("text/markdown")
    assert answer.text.startswith("# Tea\n")
    assert "Is there **tea**?" in answer.text
    assert bob.post("/v1/conversations/export", json={"ids": [id]}).status_code == 404
    assert ada.post("/v1/conversations/export", json={"format": "pdf"}).status_code == 400


def test_an_export_with_an_unknown_conversation_is_an_error(ada, store):
    id = create(ada, store, "Tea", "x")
    assert ada.post("/v1/conversations/export", json={"ids": [id, "conv_nowhere"]}).status_code == 404
    assert len(ada.post("/v1/conversations/export", json={"ids": [id, id]}).text.splitlines()) == 1


def test_changes_during_an_export_remove_the_deleted_conversation_and_repeat_none(ada, store, monkeypatch):
    ids = [create(ada, store, f"Chat {number}", "x") for number in range(300)]
    write, written = LocalConversationFiles.write, []

    def change_and_write(self, conversation, folder, format):
        if len(written) == 199:
            store.append(ids[0], [Message("user", "now the newest")])
            store.delete(ids[50])
            store.delete(conversation.id)
        written.append(conversation.id)
        return write(self, conversation, folder, format)

    monkeypatch.setattr(LocalConversationFiles, "write", change_and_write)
    lines = ada.post("/v1/conversations/export", json={}).text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [id for id in reversed(ids) if id != ids[50]]


def test_an_invalid_conversation_stops_the_import_unless_it_is_skipped(ada, store):
    settings = {"parameters": {"temperature": 9}}
    content = "\n".join(
        [row("good"), '{"object": "turnwise.conversation"}', row("hot", title="Hot", settings=settings)]
    )
    answer = upload(ada, content, "mine.jsonl")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_conversations"
    assert "mine.jsonl, conversation 2 (line 2): it has no list of 'messages'" in error["message"]
    assert "1 others are invalid" in error["message"]
    assert store.list() == []
    report = upload(ada, content, "mine.jsonl", skip_invalid=True).json()
    assert (len(report["ids"]), len(report["problems"])) == (1, 2)
    assert "'temperature' must be between 0 and 2" in report["problems"][1]["reason"]


def test_a_title_is_made_if_a_file_has_none_or_a_long_one(ada):
    ids = upload(ada, row("What a\nday") + "\n" + row("x", title="t" * 900)).json()["ids"]
    titles = [ada.get(f"/v1/conversations/{id}").json()["title"] for id in ids]
    assert titles == ["What a day", "t" * 200]


def test_a_file_that_is_too_large_or_of_another_kind_is_rejected(ada, store, monkeypatch):
    monkeypatch.setattr(conversation_files, "MAX_IMPORT_BYTES", 1000)
    assert upload(ada, row("x" * 2000)).json()["error"]["code"] == "body_too_large"
    assert upload(ada, b"").status_code == 400
    answer = upload(ada, b"hello", "notes.txt")
    assert answer.status_code == 400
    assert "notes.txt" in answer.json()["error"]["message"]
    assert store.list() == []


def test_imported_messages_can_be_erased_by_the_name_of_the_user(ada, store):
    upload(ada, row("x"), user="eve")
    assert store.personal_data.owners_of("eve") == ["ada"]


def test_a_file_is_checked_outside_of_the_event_loop(ada, monkeypatch):
    threads = []

    def prepare(*args):
        threads.append(threading.current_thread().name)
        return prepare_trees(*args)

    monkeypatch.setattr(conversation_files, "prepare_trees", prepare)
    assert upload(ada, row("x")).status_code == 200
    assert threads[0].startswith("turnwise-reader-of-imported-files")


def test_a_large_file_is_stored_in_batches_and_may_be_sent_again_after_an_error(ada, store, monkeypatch):
    monkeypatch.setattr(imported_conversations, "BATCH_MESSAGES", 2)
    add_trees, sizes = SqliteConversationStore.add_trees, []

    def fail_once(self, trees, **options):
        sizes.append(len(trees))
        if len(sizes) == 2:
            raise Unavailable("The store is busy.")
        return add_trees(self, trees, **options)

    monkeypatch.setattr(SqliteConversationStore, "add_trees", fail_once)
    content = "\n".join(row(*texts) for texts in ("a", "b", "cde", "f"))
    assert upload(ada, content).status_code == 503
    assert len(store.list()) == 2
    report = upload(ada, content).json()
    assert sizes == [2, 1, 2, 1, 1]
    assert (len(report["ids"]), len(report["known_ids"]), report["num_messages"]) == (2, 2, 4)
    assert len(store.list()) == 4


def test_a_batch_that_takes_longer_than_the_limit_of_the_writer_is_reported_as_stored(ada, store, monkeypatch):
    add_trees = SqliteConversationStore.add_trees

    def slow(self, trees, **options):
        time.sleep(0.2)
        return add_trees(self, trees, **options)

    monkeypatch.setattr(SqliteConversationStore, "add_trees", slow)
    monkeypatch.setattr(STORE_WRITE_EXECUTOR, "seconds", 0.05)
    answer = upload(ada, row("x"))
    assert answer.status_code == 200
    assert answer.json()["ids"] == store.list_ids()


def test_folders_and_models_of_a_file_are_cut_to_the_bounds_of_the_api(ada, store):
    messages = json.loads(row("x"))["messages"]
    messages[0]["meta"] = {"model": "m" * 900}
    fields = {"messages": messages, "folder": "  My\n work " + "f" * 900, "model": "n" * 900}
    [id] = upload(ada, json.dumps({"object": "turnwise.conversation", **fields})).json()["ids"]
    [folder] = ada.get("/v1/folders").json()["data"]
    assert folder["name"] == "My work " + "f" * 92
    conversation = ada.get(f"/v1/conversations/{id}").json()
    assert conversation["model"] == "n" * 200
    assert conversation["messages"][0]["meta"]["model"] == "m" * 200


def consents(client, report):
    [id] = report.json()["ids"]
    tree = client.get(f"/v1/conversations/{id}", params={"tree": True}).json()["tree"]
    return [message["meta"]["consent"] for message in tree]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["off", "off", "off", "off"]),
        ({"collect": "metadata"}, ["metadata", "metadata", "off", "off"]),
        ({"collect": "full"}, ["full", "metadata", "off", "off"]),
    ],
)
def test_the_strictest_consent_of_file_request_and_key_holds_for_an_import(carl, bob, params, expected):
    messages = json.loads(row("a", "b", "c", "d"))["messages"]
    for message, consent in zip(messages, ("full", "metadata", "off", "unknown"), strict=True):
        message["meta"] = {"consent": consent}
    content = json.dumps({"object": "turnwise.conversation", "messages": messages})
    assert consents(carl, upload(carl, content, **params)) == expected
    limited = ["metadata" if consent == "full" else consent for consent in expected]
    assert consents(bob, upload(bob, content, **params)) == limited, "the key allows no texts"


def test_the_consent_of_a_message_survives_export_and_import(carl, store):
    id = carl.post("/v1/conversations", json={"title": "Tea"}).json()["id"]
    for consent in ("full", "metadata", "off"):
        store.append(id, [Message("user", consent)], {"consent": consent})
    exported = carl.post("/v1/conversations/export", json={"ids": [id]}).content
    carl.delete(f"/v1/conversations/{id}")
    assert consents(carl, upload(carl, exported, collect="full")) == ["full", "metadata", "off"]


def test_a_file_of_another_program_has_the_consent_of_the_request(carl):
    content = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    assert consents(carl, upload(carl, content, collect="full")) == ["full", "full"]
    assert upload(carl, content, collect="everything").status_code == 400


def test_a_server_without_files_neither_exports_nor_imports(store):
    with serve_in_thread(create_app({"s": ScriptedChatService(store=store)}, default="s")) as url:
        assert httpx.post(f"{url}/v1/conversations/export", json={}).status_code == 404
        assert httpx.post(f"{url}/v1/conversations/import", content=b"x").status_code == 404
