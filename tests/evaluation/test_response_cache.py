"""Answers that are kept: private, shared by processes, and never the end of an evaluation by a riddle."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from turnwise.core.errors import UserError
from turnwise.evaluation.response_cache import ResponseCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "evaluations.db"


def test_what_is_kept_is_there_again(path):
    first = ResponseCache(path)
    first.put("a", {"text": "hello"})
    first.close()
    again = ResponseCache(path)
    assert again.get(["a", "b"]) == {"a": {"text": "hello"}}
    again.close()


def test_only_its_owner_can_read_it(path):
    old = os.umask(0)
    try:
        cache = ResponseCache(path)
        cache.put("a", {"text": "secret"})
        cache.write()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        cache.close()
    finally:
        os.umask(old)
    assert "evaluations.db-wal" in modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_is_no_database_is_told(path):
    path.parent.mkdir()
    path.write_text("no database at all, but long enough to look like one" * 20)
    with pytest.raises(UserError, match=r"evaluations\.db cannot be used: .*--no-cache"):
        ResponseCache(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--no-cache"):
        ResponseCache(tmp_path / "file" / "evaluations.db")


def test_a_disk_that_refuses_is_told_and_the_file_let_go(path):
    cache = ResponseCache(path)
    cache.put("a", {"text": "lost"})
    other = sqlite3.connect(path)
    other.execute("DROP TABLE responses")
    other.commit()
    other.close()
    with pytest.raises(UserError, match="no such table"):
        cache.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cache._connection.execute("SELECT 1")


def test_many_processes_may_use_it_first_at_once(path):
    code = (
        "import sys; from pathlib import Path; from turnwise.evaluation.response_cache import ResponseCache\n"
        "c = ResponseCache(Path(sys.argv[1]))\n"
        "for n in range(20): c.put(f'{sys.argv[2]} {n}', {'n': n}); c.write()\n"
        "c.get([f'{sys.argv[2]} 0']); c.close()"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, path, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(8)
    ]
    told = [worker.communicate(timeout=60)[1] for worker in workers]
    assert told == [""] * 8
    cache = ResponseCache(path)
    assert len(cache.get(f"{worker} {n}" for worker in range(8) for n in range(20))) == 160
    cache.close()
