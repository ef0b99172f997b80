"""`/v1/keys`: creating, listing and revoking API keys over HTTP, by admins only."""

import httpx
import pytest

from turnwise.core.api_keys import VISIBLE_LENGTH
from turnwise.server.app import create_app
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.store.sqlite.key_usage_store import SqliteKeyUsageStore
from turnwise.testing import ScriptedChatService, serve_in_thread


@pytest.fixture
def keys(tmp_path):
    return SqliteKeyStore(tmp_path / "keys.db")


@pytest.fixture
def url(keys, tmp_path):
    app = create_app(
        {"scripted": ScriptedChatService()}, default="scripted", keys=keys,
        key_usage=SqliteKeyUsageStore(tmp_path / "keys.db"),
    )  # fmt: skip
    with serve_in_thread(app) as url:
        yield url


def send(url, method, path, key=None, body=None):
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx.request(method, url + path, json=body, headers=headers)


@pytest.fixture
def admin(url):
    """The first key, which the server gives away without a key."""
    return send(url, "POST", "/v1/keys", body={"name": "admin", "role": "admin"}).json()["key"]


def test_the_first_key_makes_the_server_require_keys(url):
    assert send(url, "GET", "/v1/keys").json() == {"object": "list", "data": [], "required": False}
    answer = send(url, "POST", "/v1/keys", body={"name": "me", "role": "admin"})
    assert answer.status_code == 200
    assert send(url, "GET", "/v1/keys").status_code == 401, "at once, not after a second"
    assert send(url, "GET", "/v1/keys", answer.json()["key"]).json()["required"]


@pytest.mark.parametrize("role", ["user", "agent"])
def test_the_first_key_is_that_of_an_admin(url, keys, role):
    answer = send(url, "POST", "/v1/keys", body={"name": "me", "role": role})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "role")
    assert keys.list() == []


def test_only_the_answer_of_the_creation_has_the_key_and_no_cache_keeps_it(url, admin):
    body = {"name": "shop app", "requests_per_minute": 60, "max_concurrent": 4, "collect": "full"}
    answer = send(url, "POST", "/v1/keys", admin, body)
    created = answer.json()
    key = created.pop("key")
    assert answer.headers["cache-control"] == "no-store"
    assert created["prefix"] == key[:VISIBLE_LENGTH]
    assert {name: created[name] for name in body} == body
    assert (created["role"], created["last_used"], created["is_current"]) == ("user", None, False)
    listed = send(url, "GET", "/v1/keys", admin)
    assert [(entry["name"], entry["is_current"]) for entry in listed.json()["data"]] == [
        ("admin", True), ("shop app", False),
    ]  # fmt: skip
    assert key not in listed.text
    assert key[VISIBLE_LENGTH:] not in listed.text


def test_a_new_key_is_accepted_and_a_revoked_one_rejected_at_once(url, admin):
    key = send(url, "POST", "/v1/keys", admin, {"name": "shop app"}).json()["key"]
    assert send(url, "GET", "/v1/models", key).status_code == 200
    revoked = send(url, "DELETE", "/v1/keys/shop%20app", admin)
    assert revoked.json() == {"name": "shop app", "object": "key.deleted", "deleted": True}
    assert send(url, "GET", "/v1/models", key).status_code == 401
    assert send(url, "DELETE", "/v1/keys/shop%20app", admin).status_code == 404


def test_a_prefix_names_no_key(url, admin, keys):
    assert send(url, "DELETE", f"/v1/keys/{admin[:VISIBLE_LENGTH]}", admin).status_code == 404
    assert len(keys.list()) == 1


def test_the_last_key_of_an_admin_is_not_revoked(url, admin, keys):
    send(url, "POST", "/v1/keys", admin, {"name": "user"})
    refused = send(url, "DELETE", "/v1/keys/admin", admin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "last_admin_key")
    send(url, "POST", "/v1/keys", admin, {"name": "second", "role": "admin"})
    assert send(url, "DELETE", "/v1/keys/admin", admin).status_code == 200
    assert [key.name for key in keys.list()] == ["user", "second"]


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "tw-x"}, {"name": "a\nb"}, {"name": "x" * 65}, {"name": "x", "role": "root"},
     {"name": "x", "requests_per_minute": 0}, {"name": "x", "max_concurrent": 1.5}, {"name": "x", "key": "tw-mine"},
     {"name": "admin"}],
)  # fmt: skip
def test_bad_keys_are_rejected(url, admin, keys, body):
    assert send(url, "POST", "/v1/keys", admin, body).status_code == 400
    assert len(keys.list()) == 1


@pytest.mark.parametrize("role", ["user", "agent"])
def test_other_roles_are_rejected(url, admin, role):
    key = send(url, "POST", "/v1/keys", admin, {"name": "other", "role": role}).json()["key"]
    for method, path in (("GET", "/v1/keys"), ("DELETE", "/v1/keys/admin"), ("GET", "/v1/usage")):
        assert send(url, method, path, key).status_code == 403
    assert send(url, "POST", "/v1/keys", key, {"name": "mine", "role": "admin"}).status_code == 403


def test_a_page_of_another_site_creates_no_key(url, keys):
    headers = {"origin": "https://evil.example"}
    answer = httpx.post(f"{url}/v1/keys", json={"name": "x", "role": "admin"}, headers=headers)
    assert answer.status_code == 403
    assert keys.list() == []


def test_a_server_without_keys_and_usage_has_none():
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted")) as url:
        for method, path in (("GET", "/v1/keys"), ("DELETE", "/v1/keys/x"), ("GET", "/v1/usage")):
            assert send(url, method, path).status_code == 404
