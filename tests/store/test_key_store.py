"""The file of API keys: what is kept, what is not, and who may change it when."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from turnwise.core.api_keys import VISIBLE_LENGTH
from turnwise.core.errors import InvalidParameter, NotFound, UserError
from turnwise.store.sqlite.key_store import SqliteKeyStore

MAKE_KEYS = """
import sys
from pathlib import Path
from turnwise.store.sqlite.key_store import SqliteKeyStore
keys = SqliteKeyStore(Path(sys.argv[1]))
for i in range(1000):
    print(keys.create(f"{sys.argv[2]}{i}"), flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "keys.db"


@pytest.fixture
def keys(path):
    return SqliteKeyStore(path)


def test_asking_for_keys_makes_no_file(keys, path):
    assert keys.list() == []
    assert not path.exists()


def test_a_key_is_kept_as_its_hash_alone(keys, path):
    key = keys.create("laptop", requests_per_minute=60, max_concurrent=4)
    assert len(key) == len("tw-") + 64
    [kept] = keys.list()
    assert (kept.name, kept.prefix, kept.requests_per_minute, kept.max_concurrent, kept.last_used) == (
        "laptop",
        key[:VISIBLE_LENGTH],
        60,
        4,
        None,
    )
    assert kept.verify(key)
    assert not kept.verify(key[:-1] + ("0" if key[-1] != "0" else "1"))
    assert key[VISIBLE_LENGTH:].encode() not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_no_two_keys_are_alike_and_no_two_names(keys):
    assert len({keys.create(f"key {i}") for i in range(20)}) == 20
    with pytest.raises(InvalidParameter, match="There is a key named 'key 3' already"):
        keys.create("key 3")
    assert len(keys.list()) == 20


@pytest.mark.parametrize("name", ["", " a", "a\nb", "x" * 65, "tw-abc", "-a", "a\u2028"])
def test_names_that_would_confuse_a_log_or_a_person_are_refused(keys, name):
    with pytest.raises(InvalidParameter, match="A key's name has"):
        keys.create(name)
    assert keys.list() == []


@pytest.mark.parametrize("limit", ["requests_per_minute", "max_concurrent"])
def test_limits_are_positive(keys, limit):
    with pytest.raises(InvalidParameter, match=f"'{limit}' must be between 1 and"):
        keys.create("a", **{limit: 0})


def test_a_key_is_revoked_by_name_or_by_prefix_and_its_name_is_free_again(keys):
    keys.create("a")
    prefix = keys.create("b")[:VISIBLE_LENGTH]
    assert keys.revoke("a").name == "a"
    assert keys.revoke(prefix).name == "b"
    assert keys.list() == []
    keys.create("a")
    for unknown in ("b", "tw-", prefix):
        with pytest.raises(NotFound, match="There is no key"):
            keys.revoke(unknown)
    assert [kept.name for kept in keys.list()] == ["a"]


def test_last_use_only_moves_forward_and_forgets_what_is_gone(keys):
    prefix = keys.create("a")[:VISIBLE_LENGTH]
    keys.record_use(prefix, 20.0)
    keys.record_use(prefix, 10.0)
    assert keys.list()[0].last_used == 20.0
    keys.revoke("a")
    keys.record_use(prefix, 30.0)
    assert keys.list() == []


def test_one_object_sees_what_another_wrote(keys, path):
    keys.create("a")
    assert [kept.name for kept in SqliteKeyStore(path).list()] == ["a"]
    SqliteKeyStore(path).revoke("a")
    assert keys.list() == []


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps permissions elsewhere")
def test_only_the_owner_may_read_it(keys, path):
    old = os.umask(0)
    try:
        keys.create("a")
    finally:
        os.umask(old)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.slow
def test_keys_that_were_printed_outlive_a_killed_process_beside_another_one(keys, path):
    def start(name):
        return subprocess.Popen([sys.executable, "-c", MAKE_KEYS, path, name], stdout=subprocess.PIPE, text=True)

    with start("one") as one, start("two") as two:
        printed = [child.stdout.readline().strip() for _ in range(20) for child in (one, two)]
        for child in (one, two):
            child.kill()
            child.stdout.read()
    kept = {key.prefix: key for key in keys.list()}
    assert all(kept[key[:VISIBLE_LENGTH]].verify(key) for key in printed)
    keys.create("after")


def test_a_file_that_was_made_and_not_filled_is_no_obstacle(keys, path):
    path.parent.mkdir()
    path.touch()
    assert keys.list() == []
    keys.create("a")
    assert len(keys.list()) == 1


def test_what_is_not_ours_is_refused_and_left_alone(tmp_path):
    strange, text, newer = tmp_path / "music.db", tmp_path / "notes.txt", tmp_path / "newer.db"
    with sqlite3.connect(strange) as raw:
        raw.execute("CREATE TABLE songs (name TEXT)")
    raw.close()
    text.write_text("dear diary " * 200)
    SqliteKeyStore(newer).create("a")
    with sqlite3.connect(newer) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    for file, complaint in ((strange, "not of keys"), (text, "file is not a database"), (newer, "newer Turnwise")):
        before = file.read_bytes()
        for call in (SqliteKeyStore(file).list, lambda file=file: SqliteKeyStore(file).create("b")):
            with pytest.raises(UserError, match=complaint):
                call()
        assert file.read_bytes() == before
