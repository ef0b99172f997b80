"""The SQLite store: durability, permissions, schema versions, and files of other programs."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import pytest

from turnwise.core.errors import SaveFailed, UserError
from turnwise.core.messages import Message, ToolCall
from turnwise.store import open_store
from turnwise.store.sqlite import migrations

APPEND_PROGRAM = """
import sys
from turnwise.core.messages import Message, ToolCall
from turnwise.store import open_store

store = open_store(sys.argv[1])
id = store.create(title="loop", model="m").id
print(id, flush=True)
for number in range(1_000_000):
    store.append(id, [Message("user", f"{number}"), Message("assistant", f"{number}!")])
    print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "chats.db"


def start(path):
    return subprocess.Popen(
        [sys.executable, "-c", APPEND_PROGRAM, f"sqlite:///{path}"], stdout=subprocess.PIPE, text=True
    )


def test_acknowledged_messages_survive_sigkill(path):
    for _ in range(3):
        with start(path) as child:
            acknowledged = [child.stdout.readline().strip() for _ in range(30)]
            time.sleep(0.02)
            child.send_signal(signal.SIGKILL)
            acknowledged += child.stdout.read().split()
        assert child.returncode == -signal.SIGKILL
        store = open_store(f"sqlite:///{path}")
        texts = [stored.message.content for stored in store.get(acknowledged[0]).messages]
        assert len(texts) % 2 == 0, "appends are atomic"
        numbers = acknowledged[1:]
        assert len(numbers) >= 29
        assert texts[: 2 * len(numbers)] == [text for number in numbers for text in (number, f"{number}!")]
        assert len(texts) <= 2 * len(numbers) + 2, "at most one append is stored but not acknowledged"
        store.close()
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()


def test_two_processes_can_write_to_the_same_file(path):
    with start(path) as first, start(path) as second:
        children = (first, second)
        ids = [child.stdout.readline().strip() for child in children]
        acknowledged = [[child.stdout.readline().strip() for _ in range(25)] for child in children]
        for child in children:
            child.kill()
            child.stdout.read()
    store = open_store(f"sqlite:///{path}")
    for id, numbers in zip(ids, acknowledged, strict=True):
        assert [stored.message.content for stored in store.get(id).messages][: 2 * len(numbers) : 2] == numbers
    store.close()


def test_a_reopened_store_is_unchanged(path):
    store = open_store(f"sqlite:///{path}")
    id = store.create(title="t", model="m").id
    store.append(id, [Message("user", "stored")])
    before = store.get(id)
    store.close()
    reopened = open_store(f"sqlite:///{path}")
    assert reopened.get(id) == before
    reopened.close()


def test_the_connection_has_the_pragmas_for_durability(path):
    store = open_store(f"sqlite:///{path}")
    pragmas = {name: store._database._connection.execute(f"PRAGMA {name}").fetchone()[0]
             for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "user_version")}  # fmt: skip
    store.close()
    assert pragmas == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1,
        "user_version": len(migrations.STEPS),
    }  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has no POSIX permissions")
def test_only_the_owner_can_read_the_files(path):
    previous_umask = os.umask(0)
    try:
        store = open_store(f"sqlite:///{path}")
        store.create(title="t", model="m")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(previous_umask)
    assert {"chats.db", "chats.db-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_deleted_text_is_erased_from_the_file(path):
    store = open_store(f"sqlite:///{path}")
    id = store.create(title="t", model="m").id
    store.append(id, [Message("user", "my-secret-sentence" * 500)])
    store.delete(id)
    store.close()
    assert b"my-secret-sentence" not in path.read_bytes()


def test_a_newer_schema_version_is_rejected_and_unchanged(path):
    open_store(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match=r"newer Turnwise \(store version 99, this one knows \d+\)\. Update Turnwise"):
        open_store(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)
    connection.close()


def test_other_databases_and_files_are_rejected_and_unchanged(tmp_path):
    unrelated = tmp_path / "music.db"
    with sqlite3.connect(unrelated) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    content = unrelated.read_bytes()
    with pytest.raises(UserError, match="not of conversations"):
        open_store(f"sqlite:///{unrelated}")
    assert unrelated.read_bytes() == content
    text = tmp_path / "notes.txt"
    text.write_text("dear diary " * 200)
    with pytest.raises(UserError, match="cannot be used as a conversation store: file is not a database"):
        open_store(f"sqlite:///{text}")
    assert text.read_text() == "dear diary " * 200
    with pytest.raises(UserError, match="cannot be opened: Is a directory"):
        open_store(f"sqlite:///{tmp_path}")


def test_a_failed_migration_keeps_the_old_version(path, monkeypatch):
    open_store(f"sqlite:///{path}").close()
    steps = migrations.STEPS
    monkeypatch.setattr(migrations, "STEPS", (*steps, ("CREATE TABLE extra (x)", "CREATE GIBBERISH")))
    with pytest.raises(UserError, match="syntax error"):
        open_store(f"sqlite:///{path}")
    monkeypatch.setattr(migrations, "STEPS", (*steps, ("CREATE TABLE extra (x)",)))
    store = open_store(f"sqlite:///{path}")
    assert store._database._connection.execute("PRAGMA user_version").fetchone() == (len(steps) + 1,)
    store.close()


def test_a_full_disk_is_reported_and_changes_nothing(path):
    store = open_store(f"sqlite:///{path}")
    id = store.create(title="t", model="m").id
    pages = store._database._connection.execute("PRAGMA page_count").fetchone()[0]
    store._database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SaveFailed, match=r"No space left on device .*\. Nothing was changed"):
        store.append(id, [Message("user", "x" * 1_000_000)])
    assert store.get(id).messages == ()
    store.close()


def test_a_full_disk_is_reported_when_the_store_is_opened(path, monkeypatch):
    open_store(f"sqlite:///{path}").close()
    fill = "CREATE TABLE filler AS SELECT zeroblob(100000)"
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, ("PRAGMA max_page_count = 1", fill)))
    with pytest.raises(UserError, match="cannot be used as a conversation store: No space left on device"):
        open_store(f"sqlite:///{path}")


def test_a_file_without_tool_calls_is_migrated(path, monkeypatch):
    monkeypatch.setattr(migrations, "STEPS", migrations.STEPS[:1])
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path, isolation_level=None) as connection:
        migrations.migrate(connection, "here")
        connection.execute("INSERT INTO conversations VALUES (1, 'conv_1', 't', 'm', 1.0, 1.0)")
        connection.execute("INSERT INTO messages VALUES (1, 'msg_1', 1, 0, 1.0, 'user', 'stored', NULL, '{}')")
    connection.close()
    monkeypatch.undo()
    store = open_store(f"sqlite:///{path}")
    assert [stored.message for stored in store.get("conv_1").messages] == [Message("user", "stored")]
    call = ToolCall("call_1", "f", "{}")
    store.append("conv_1", [Message("assistant", "", tool_calls=(call,))])
    assert store.get("conv_1").messages[1].message.tool_calls == (call,)
    store.close()


def open_version_4(path, monkeypatch):
    """A connection to a file of schema version 4, in which a conversation is a list of messages."""
    monkeypatch.setattr(migrations, "STEPS", migrations.STEPS[:4])
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path, isolation_level=None)
    migrations.migrate(connection, "here")
    monkeypatch.undo()
    return connection


def test_conversations_without_branches_are_migrated_completely(path, monkeypatch):
    connection = open_version_4(path, monkeypatch)
    connection.executemany(
        "INSERT INTO conversations VALUES (?, ?, ?, 'm', ?, ?)",
        [(1, "conv_a", "A", 1.0, 4.0), (2, "conv_b", "B", 2.0, 3.0), (3, "conv_empty", "", 2.5, 2.5)],
    )
    rows = [  # of two conversations in mixed order; `number` and `position` differ
        (5, "msg_a2", 1, 2, 1.3, "user", "three \0", None, "{}", None, 1),
        (2, "msg_a0", 1, 0, 1.1, "user", "one", "Ada", "{}", None, 0),
        (3, "msg_b0", 2, 0, 1.2, "user", "eins", None, "{}", None, 0),
        (9, "msg_a1", 1, 1, 1.2, "assistant", "two", None, '{"finish": "length"}', None, 0),
        (8, "msg_b1", 2, 1, 1.4, "assistant", "", None, "{}", '{"calls": [{"id": "c", "name": "f", "arguments": "{}",'
         ' "kind": "function"}]}', 0),
    ]  # fmt: skip
    connection.executemany(
        "INSERT INTO messages (number, id, conversation, position, created, role, content, name, meta, tools, pinned)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    connection.close()
    store = open_store(f"sqlite:///{path}")
    a, b, empty = map(store.get, ("conv_a", "conv_b", "conv_empty"))
    assert [(m.id, m.created, m.message, m.meta, m.parent_id) for m in a.messages] == [
        ("msg_a0", 1.1, Message("user", "one", "Ada"), {}, None),
        ("msg_a1", 1.2, Message("assistant", "two"), {"finish": "length"}, "msg_a0"),
        ("msg_a2", 1.3, Message("user", "three \0", pinned=True), {}, "msg_a1"),
    ]
    assert (a.title, a.created, a.updated, a.head) == ("A", 1.0, 4.0, "msg_a2")
    assert [m.id for m in b.messages] == ["msg_b0", "msg_b1"]
    assert b.messages[1].message.tool_calls == (ToolCall("c", "f", "{}"),)
    assert (empty.head, empty.messages) == (None, ())
    store.ensure_branch("conv_a", [m.message for m in a.messages[:2]] + [Message("user", "another way")])
    assert len(store.get("conv_a").tree) == 4
    store.delete("conv_b")
    store.close()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    database.close()
    assert b"eins" not in path.read_bytes()


@pytest.mark.costly
def test_ten_thousand_messages_are_migrated_quickly(path, monkeypatch):
    connection = open_version_4(path, monkeypatch)
    connection.execute("INSERT INTO conversations VALUES (1, 'conv_a', 'A', 'm', 1, 1)")
    connection.executemany(
        "INSERT INTO messages (id, conversation, position, created, role, content, meta)"
        " VALUES (?, 1, ?, 1, 'user', 'x', '{}')",
        [(f"msg_{i}", i) for i in range(10_000)],
    )
    connection.close()
    start_time = time.monotonic()
    store = open_store(f"sqlite:///{path}")
    assert time.monotonic() - start_time < 10  # a query per row over all rows would take minutes
    assert [m.id for m in store.get("conv_a").messages] == [f"msg_{i}" for i in range(10_000)]
    store.close()
