"""The response cache: private, shared by processes, with errors that say what to do."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from turnwise.core.errors import UserError
from turnwise.store.sqlite.response_cache import SqliteResponseCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "evaluations.db"


def test_an_entry_is_available_after_reopening(path):
    cache = SqliteResponseCache(path)
    cache.put("a", {"text": "你好"})
    cache.close()
    reopened = SqliteResponseCache(path)
    assert reopened.get(["a", "b"]) == {"a": {"text": "你好"}}
    reopened.close()


def test_only_the_owner_can_read_the_files(path):
    old_umask = os.umask(0)
    try:
        cache = SqliteResponseCache(path)
        cache.put("a", {"text": "secret"})
        cache.write()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        cache.close()
    finally:
        os.umask(old_umask)
    assert "evaluations.db-wal" in modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_is_not_a_database_is_rejected_with_advice(path):
    path.parent.mkdir()
    path.write_text("no database at all, but long enough to look like one" * 20)
    with pytest.raises(UserError, match=r"evaluations\.db cannot be used: .*Delete the file, or pass --no-cache"):
        SqliteResponseCache(path)


def test_a_folder_that_cannot_be_created_is_rejected_with_advice(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--no-cache"):
        SqliteResponseCache(tmp_path / "file" / "evaluations.db")


def test_the_file_is_closed_even_if_the_last_write_fails(path):
    cache = SqliteResponseCache(path)
    cache.put("a", {"text": "lost"})
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE responses")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match="no such table"):
        cache.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cache._connection.execute("SELECT 1")


def test_processes_can_create_the_file_at_the_same_time(path):
    program = (
        "import sys; from pathlib import Path; from turnwise.store.sqlite.response_cache import SqliteResponseCache\n"
        "c = SqliteResponseCache(Path(sys.argv[1]))\n"
        "for n in range(20): c.put(f'{sys.argv[2]} {n}', {'n': n}); c.write()\n"
        "c.get([f'{sys.argv[2]} 0']); c.close()"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", program, path, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(8)
    ]
    errors = [worker.communicate(timeout=60)[1] for worker in workers]
    assert errors == [""] * 8
    cache = SqliteResponseCache(path)
    assert len(cache.get(f"{worker} {n}" for worker in range(8) for n in range(20))) == 160
    cache.close()
