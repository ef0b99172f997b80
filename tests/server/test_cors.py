"""CORS: only configured origins may use the API."""

import httpx
import pytest

from turnwise.core.errors import InvalidParameter
from turnwise.server.app import create_app
from turnwise.server.middleware.cors import parse_origin
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

BODY = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
APP_ORIGIN, LOCAL_ORIGIN = "https://app.example", "http://localhost:3000"


@pytest.fixture
def url(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    app = create_app(
        {"scripted": ScriptedChatService()},
        default="scripted",
        keys=keys,
        allow_origins=[APP_ORIGIN + "/", LOCAL_ORIGIN],
    )
    with serve_in_thread(app) as address:
        yield address


def test_a_configured_origin_may_send_requests_and_read_responses(url):
    for origin in (APP_ORIGIN, LOCAL_ORIGIN):
        answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers={"origin": origin})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers


def test_a_configured_origin_may_read_errors(url, tmp_path):
    assert (
        httpx.get(f"{url}/nothing", headers={"origin": APP_ORIGIN}).headers["access-control-allow-origin"] == APP_ORIGIN
    )
    SqliteKeyStore(tmp_path / "keys.db").create("me")
    with serve_in_thread(
        create_app(
            {"s": ScriptedChatService()},
            default="s",
            allow_origins=[APP_ORIGIN],
            keys=SqliteKeyStore(tmp_path / "keys.db"),
        )
    ) as locked:
        refused = httpx.get(f"{locked}/v1/models", headers={"origin": APP_ORIGIN})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, APP_ORIGIN)
        preflight = httpx.options(
            f"{locked}/v1/models", headers={"origin": APP_ORIGIN, "access-control-request-method": "GET"}
        )
        assert preflight.status_code == 204, "a browser asks in advance without a key"


def test_a_preflight_request_is_answered(url):
    headers = {
        "origin": APP_ORIGIN,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
        "access-control-request-private-network": "true",
    }
    answer = httpx.options(f"{url}/v1/conversations/x", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == APP_ORIGIN
    assert {"GET", "POST", "PATCH", "DELETE"} == set(answer.headers["access-control-allow-methods"].split(", "))
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type,x-stainless-os"
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert int(answer.headers["access-control-max-age"]) > 0


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null",
               "https://app.example:444", "HTTPS://APP.EXAMPLE"],
)  # fmt: skip
def test_an_origin_that_is_not_configured_is_rejected(url, origin):
    preflight = httpx.options(
        f"{url}/v1/chat/completions", headers={"origin": origin, "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 405
    posted = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers={"origin": origin})
    assert (posted.status_code, posted.json()["error"]["code"]) == (403, "origin_not_allowed")
    read = httpx.get(f"{url}/v1/models", headers={"origin": origin})
    for answer in (preflight, posted, read):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin", "a cache must not give one origin the answer of another"


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("https://Example.org/", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_normalised_to_the_form_that_browsers_send(value, origin):
    assert parse_origin(value) == origin


@pytest.mark.parametrize(
    "value", ["", "*", "https://*.example.org", "example.org", "https://example.org/path", "ftp://example.org",
             "https://me@example.org", "null", "https://example.org:x", "https://[", "https://example.org?x"],
)  # fmt: skip
def test_a_value_that_is_not_an_origin_is_rejected(value):
    with pytest.raises(InvalidParameter, match="is not an origin; write it as"):
        parse_origin(value)
