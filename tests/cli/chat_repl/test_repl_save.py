"""The command /save of the chat REPL, which never loses a file."""

import json

import pytest
from repl_scripts import echo

from turnwise.testing import ScriptedChatService

pytestmark = pytest.mark.timeout(60)


def test_save_writes_a_row_that_training_reads(run_repl, tmp_path):
    from turnwise.data.sources import read_source

    path = tmp_path / "chat.jsonl"
    repl, output = run_repl(ScriptedChatService(["Grüße 🚚"]), "hello", f"/save {path}")
    assert f"Saved 2 messages to {path}." in output
    assert json.loads(path.read_text()) == {"messages": [message.as_dict() for message in repl.messages]}
    (conversation,) = read_source(path)
    assert list(conversation.messages) == repl.messages


def test_save_replaces_a_file_only_with_overwrite(run_repl, tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text("precious")
    _, output = run_repl(ScriptedChatService(echo), "hello", f"/save {path}")
    assert f"the file exists. To replace it: /save {path} --overwrite" in output
    assert path.read_text() == "precious"
    run_repl(ScriptedChatService(echo), "hello", f"/save {path} --overwrite")
    assert json.loads(path.read_text())["messages"][0]["content"] == "hello"


def test_save_creates_no_folder(run_repl, tmp_path):
    _, output = run_repl(ScriptedChatService(echo), "hello", f"/save {tmp_path}/new/chat.jsonl")
    assert f"there is no folder {tmp_path}/new. Create it first." in output
    assert not (tmp_path / "new").exists()


def test_a_path_that_cannot_be_written_is_reported_and_the_chat_continues(run_repl, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    paths = [
        "/proc/chat.jsonl",
        tmp_path,
        tmp_path / "file" / "chat.jsonl",
        "~no-such-person/chat.jsonl",
        tmp_path / ("x" * 300),
    ]
    repl, output = run_repl(ScriptedChatService(echo), "hello", *(f"/save {path}" for path in paths), "still there?")
    assert output.count("Could not") == len(paths)
    assert len(repl.messages) == 4


def test_a_full_disk_is_reported_and_the_chat_continues(run_repl, tmp_path, monkeypatch):
    def raise_disk_full(handle):
        raise OSError(28, "No space left on device")

    path = tmp_path / "chat.jsonl"
    path.write_text("earlier content")
    monkeypatch.setattr("turnwise.core.files.os.fsync", raise_disk_full)
    repl, output = run_repl(ScriptedChatService(echo), "hello", f"/save {path} --overwrite", "still there?")
    assert "No space left on device. Nothing was changed." in output
    assert path.read_text() == "earlier content"
    assert list(tmp_path.iterdir()) == [path]
    assert len(repl.messages) == 4
