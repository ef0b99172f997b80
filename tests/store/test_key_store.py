"""The SQLite file of API keys: contents, permissions, limits and concurrent use."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from turnwise.core.api_keys import VISIBLE_LENGTH
from turnwise.core.errors import InvalidParameter, LastAdminKey, NotFound, UserError
from turnwise.store.sqlite.key_store import SqliteKeyStore

CREATE_PROGRAM = """
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


def test_listing_keys_creates_no_file(keys, path):
    assert keys.list() == []
    assert not path.exists()


def test_only_the_hash_of_a_key_is_stored(keys, path):
    key = keys.create("laptop", requests_per_minute=60, max_concurrent=4)
    assert len(key) == len("tw-") + 64
    [stored] = keys.list()
    assert (stored.name, stored.prefix, stored.requests_per_minute, stored.max_concurrent, stored.last_used) == (
        "laptop",
        key[:VISIBLE_LENGTH],
        60,
        4,
        None,
    )
    assert stored.verify(key)
    assert not stored.verify(key[:-1] + ("0" if key[-1] != "0" else "1"))
    assert key[VISIBLE_LENGTH:].encode() not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_keys_and_names_are_unique(keys):
    assert len({keys.create(f"key {i}") for i in range(20)}) == 20
    with pytest.raises(InvalidParameter, match="There is a key named 'key 3' already"):
        keys.create("key 3")
    assert len(keys.list()) == 20


@pytest.mark.parametrize("name", ["", " a", "a\nb", "x" * 65, "tw-abc", "-a", "a\u2028"])
def test_ambiguous_names_are_rejected(keys, name):
    with pytest.raises(InvalidParameter, match="A key's name has"):
        keys.create(name)
    assert keys.list() == []


@pytest.mark.parametrize("limit", ["requests_per_minute", "max_concurrent"])
def test_limits_must_be_positive(keys, limit):
    with pytest.raises(InvalidParameter, match=f"'{limit}' must be between 1 and"):
        keys.create("a", **{limit: 0})


def test_a_key_is_revoked_by_name_or_prefix_and_its_name_can_be_reused(keys):
    keys.create("a")
    prefix = keys.create("b")[:VISIBLE_LENGTH]
    assert keys.revoke("a").name == "a"
    assert keys.revoke(prefix).name == "b"
    assert keys.list() == []
    keys.create("a")
    for unknown in ("b", "tw-", prefix):
        with pytest.raises(NotFound, match="There is no key"):
            keys.revoke(unknown)
    assert [stored.name for stored in keys.list()] == ["a"]


def test_of_two_admins_who_revoke_each_others_keys_one_keeps_it(keys, path):
    for name in ("a", "b"):
        keys.create(name, role="admin")

    class SlowStore(SqliteKeyStore):
        def list(self):
            listed = super().list()
            SqliteKeyStore(path).revoke("a", keep_last_admin=True)  # of another process, after the list was read
            return listed

    with pytest.raises(LastAdminKey, match="'b' is the last key of an admin"):
        SlowStore(path).revoke("b", keep_last_admin=True)
    assert [stored.name for stored in keys.list()] == ["b"]


def test_last_use_only_moves_forward_and_ignores_revoked_keys(keys):
    prefix = keys.create("a")[:VISIBLE_LENGTH]
    keys.record_use(prefix, 20.0)
    keys.record_use(prefix, 10.0)
    assert keys.list()[0].last_used == 20.0
    keys.revoke("a")
    keys.record_use(prefix, 30.0)
    assert keys.list() == []


def test_stores_on_the_same_file_see_each_others_changes(keys, path):
    keys.create("a")
    assert [stored.name for stored in SqliteKeyStore(path).list()] == ["a"]
    SqliteKeyStore(path).revoke("a")
    assert keys.list() == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no POSIX permissions")
def test_only_the_owner_can_read_the_file(keys, path):
    previous_umask = os.umask(0)
    try:
        keys.create("a")
    finally:
        os.umask(previous_umask)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.slow
def test_printed_keys_survive_sigkill_of_two_writers(keys, path):
    def start(name):
        return subprocess.Popen([sys.executable, "-c", CREATE_PROGRAM, path, name], stdout=subprocess.PIPE, text=True)

    with start("first") as first, start("second") as second:
        printed = [child.stdout.readline().strip() for _ in range(20) for child in (first, second)]
        for child in (first, second):
            child.kill()
            child.stdout.read()
    stored = {key.prefix: key for key in keys.list()}
    assert all(stored[key[:VISIBLE_LENGTH]].verify(key) for key in printed)
    keys.create("after")


def test_a_key_has_a_role_and_user_is_the_default(keys):
    for role in ("user", "agent", "admin"):
        keys.create(role, role=role)
    keys.create("default")
    assert [(key.name, key.role) for key in keys.list()] == [
        ("user", "user"), ("agent", "agent"), ("admin", "admin"), ("default", "user"),
    ]  # fmt: skip
    with pytest.raises(InvalidParameter, match="'adnim' is no role of a key; did you mean 'admin'"):
        keys.create("x", role="adnim")


def test_a_key_has_a_consent_and_the_default_is_careful(keys):
    for consent in ("off", "metadata", "full"):
        keys.create(consent, consent=consent)
    keys.create("default")
    assert [key.consent for key in keys.list()] == ["off", "metadata", "full", "metadata"]
    with pytest.raises(InvalidParameter, match="'ful' is no consent; did you mean 'full'"):
        keys.create("other", consent="ful")


VERSION_1 = """
CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL UNIQUE,
    created REAL NOT NULL,
    used REAL,
    rate INTEGER CHECK (rate > 0),
    concurrent INTEGER CHECK (concurrent > 0)
) STRICT
"""


def test_keys_of_a_file_without_roles_are_admins_before_and_after_it_is_migrated(keys, path):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute(VERSION_1)
        connection.execute("INSERT INTO keys VALUES (1, 'old', 'tw-12345678', x'00', 1.0, NULL, 60, NULL)")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    content = path.read_bytes()
    (old,) = keys.list()
    assert (old.name, old.role, old.requests_per_minute, old.consent) == ("old", "admin", 60, "metadata")
    assert path.read_bytes() == content, "reading does not migrate"
    keys.create("new")
    assert [(key.name, key.role, key.consent) for key in keys.list()] == [
        ("old", "admin", "metadata"), ("new", "user", "metadata"),
    ]  # fmt: skip
    keys.record_use("tw-12345678", 5.0)
    assert keys.list()[0].last_used == 5.0


def test_an_empty_file_is_initialized(keys, path):
    path.parent.mkdir()
    path.touch()
    assert keys.list() == []
    keys.create("a")
    assert len(keys.list()) == 1


def test_other_databases_and_files_are_rejected_and_unchanged(tmp_path):
    unrelated, text, newer = tmp_path / "music.db", tmp_path / "notes.txt", tmp_path / "newer.db"
    with sqlite3.connect(unrelated) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    text.write_text("dear diary " * 200)
    SqliteKeyStore(newer).create("a")
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for file, message in ((unrelated, "not of keys"), (text, "file is not a database"), (newer, "newer Turnwise")):
        content = file.read_bytes()
        for call in (SqliteKeyStore(file).list, lambda file=file: SqliteKeyStore(file).create("b")):
            with pytest.raises(UserError, match=message):
                call()
        assert file.read_bytes() == content
