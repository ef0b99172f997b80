"""API keys: authentication, changes of the key file while the server runs, and rate limits."""

import time

import httpx
import openai
import pytest

from turnwise.core.api_keys import VISIBLE_LENGTH, ApiKey
from turnwise.core.errors import SaveFailed
from turnwise.server.app import create_app
from turnwise.server.error_responses import RequestRejected
from turnwise.server.middleware.api_key_auth import ApiKeyAuth
from turnwise.server.middleware.token_bucket import TokenBucket
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

HELLO = [{"role": "user", "content": "Hello"}]
BODY = {"model": "scripted", "messages": HELLO}


@pytest.fixture
def keys(tmp_path):
    return SqliteKeyStore(tmp_path / "keys.db")


@pytest.fixture
def secured(keys):
    """URL and key of a server with one key."""
    key = keys.create("me")
    store = open_store("sqlite:///:memory:")
    with serve_in_thread(
        create_app({"scripted": ScriptedChatService(store=store)}, default="scripted", keys=keys)
    ) as url:
        yield url, key
    store.close()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def eventually(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return true


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/scripted"),
        ("GET", "/v1/conversations"),
        ("DELETE", "/v1/conversations/x"),
        ("GET", "/v1/parameters"),
        ("GET", "/metrics"),
        ("POST", "/tokenize"),
        ("POST", "/detokenize"),
        ("GET", "//v1/models"),
        ("GET", "/nothing"),
    ],
)
def test_every_api_route_requires_the_key(secured, method, path):
    url, key = secured
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    keys = (wrong, key[:VISIBLE_LENGTH], f"{key} {key}", "ü")
    for value in (None, "Bearer", key, f"Basic {key}", *(f"Bearer {header_key}" for header_key in keys)):
        headers = {} if value is None else {"Authorization": value.encode()}
        answer = httpx.request(method, url + path, headers=headers, json=BODY if method == "POST" else None)
        assert answer.status_code == 401
        error = answer.json()["error"]
        assert (error["code"], error["type"], error["param"]) == ("invalid_api_key", "invalid_request_error", None)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert key[VISIBLE_LENGTH:-1] not in answer.text


def test_the_error_distinguishes_a_missing_from_a_wrong_key(secured):
    url, _ = secured
    assert "is missing" in httpx.get(f"{url}/v1/models").json()["error"]["message"]
    assert "is wrong" in httpx.get(f"{url}/v1/models", headers=bearer("tw-x")).json()["error"]["message"]


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/assets/chat.js", "/health", "/ready"])
def test_pages_and_health_checks_need_no_key(secured, path):
    assert httpx.get(secured[0] + path).status_code == 200


def test_every_route_answers_with_the_key(secured):
    url, key = secured
    for path in ("/v1/models", "/v1/conversations", "/v1/parameters"):
        assert httpx.get(url + path, headers=bearer(key)).status_code == 200
    assert httpx.get(f"{url}/v1/models", headers={"authorization": f"bearer   {key}"}).status_code == 200


def test_the_official_client_raises_without_a_key(secured):
    url, key = secured
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(model="scripted", messages=HELLO)
    assert answer.choices[0].message.content == "Hello, you."
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        client.chat.completions.create(model="scripted", messages=HELLO)
    assert refused.value.code == "invalid_api_key"


@pytest.mark.costly
def test_a_running_server_reads_new_and_revoked_keys(keys):
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted", keys=keys)) as url:
        status = lambda **headers: httpx.get(f"{url}/v1/models", headers=headers).status_code  # noqa: E731
        assert status() == 200, "there is no key yet"
        first = keys.create("first")
        assert eventually(lambda: status() == 401, seconds=2)
        assert status(**bearer(first)) == 200
        second = keys.create("second")
        assert eventually(lambda: status(**bearer(second)) == 200, seconds=2)
        keys.revoke("first")
        assert eventually(lambda: status(**bearer(first)) == 401, seconds=2)
        keys.revoke("second")
        assert eventually(lambda: status(**bearer(second)) == 401, seconds=2)
        assert status() == 401, "revoking the last key does not open the door"


@pytest.mark.costly
def test_a_key_can_be_required_before_any_exists(keys):
    app = create_app({"scripted": ScriptedChatService()}, default="scripted", keys=keys, require_key=True)
    with serve_in_thread(app) as url:
        assert httpx.get(f"{url}/v1/models").status_code == 401
        key = keys.create("me")
        assert eventually(lambda: httpx.get(f"{url}/v1/models", headers=bearer(key)).status_code == 200, seconds=2)


def test_a_request_with_a_key_may_have_any_host(secured):
    """DNS rebinding is no risk here: a page that points its name at this machine has no key."""
    url, key = secured
    proxied = {"host": "chat.example", "origin": "https://chat.example", **bearer(key)}
    assert httpx.get(f"{url}/v1/models", headers=bearer(key)).status_code == 200  # reads the keys
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=proxied).status_code == 200
    foreign = {**proxied, "origin": "https://evil.example"}
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=foreign).status_code == 403


def test_the_last_use_of_a_key_is_recorded(secured, keys):
    url, key = secured
    assert keys.list()[0].last_used is None
    httpx.get(f"{url}/v1/models", headers=bearer("tw-wrong"))
    httpx.get(f"{url}/v1/models", headers=bearer(key))
    assert eventually(lambda: keys.list()[0].last_used is not None)
    assert keys.list()[0].last_used >= keys.list()[0].created


def test_an_unreadable_key_file_rejects_every_request_and_is_logged(keys, secured, caplog, tmp_path):
    url, _ = secured
    path = tmp_path / "keys.db"
    path.write_bytes(b"no database at all" * 100)

    def answer():
        return httpx.get(f"{url}/v1/models")

    assert eventually(lambda: answer().status_code == 500, seconds=3)
    assert answer().json()["error"]["code"] == "internal_error"
    assert str(path) not in answer().text, "a client learns nothing of our files"
    assert f"Could not read the API keys: {path} cannot be used for keys" in caplog.text


# Rate limits


@pytest.mark.anyio
async def test_a_token_bucket_allows_one_minute_of_requests_and_then_refills():
    now = 0.0
    key = ApiKey("shop", "tw-12345678", b"", created=0.0, requests_per_minute=3)
    auth = ApiKeyAuth(None, clock=lambda: now)
    for _ in range(3):
        auth._take_token(key)
    with pytest.raises(RequestRejected, match="allows 3 requests per minute") as refused:
        auth._take_token(key)
    assert (refused.value.http_status, refused.value.code, refused.value.retry_after) == (
        429, "rate_limit_exceeded", 20,
    )  # fmt: skip
    now = 19.9
    with pytest.raises(RequestRejected):
        auth._take_token(key)
    now = 20.0
    auth._take_token(key)
    now = 10_000.0
    for _ in range(3):
        auth._take_token(key)
    with pytest.raises(RequestRejected):
        auth._take_token(key)


def test_a_token_bucket_never_exceeds_its_rate():
    bucket = TokenBucket(60, 0.0)
    taken = sum(bucket.take(step / 100) == 0 for step in range(12_000))  # two minutes, 100 requests per second
    assert 178 <= taken <= 180


def test_a_request_over_the_rate_is_a_429_with_retry_after(keys):
    slow, free = keys.create("slow", requests_per_minute=2), keys.create("free")
    with serve_in_thread(create_app({"scripted": ScriptedChatService()}, default="scripted", keys=keys)) as url:
        answers = [httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=bearer(slow)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
        assert 25 <= int(answers[2].headers["retry-after"]) <= 30
        assert httpx.get(f"{url}/v1/models", headers=bearer(free)).status_code == 200, "others are not held back"
        with (
            openai.OpenAI(base_url=f"{url}/v1", api_key=slow, max_retries=0) as client,
            pytest.raises(openai.RateLimitError),
        ):
            client.models.list()


@pytest.mark.anyio
async def test_a_failure_to_record_the_use_of_a_key_rejects_no_request(keys, caplog, tmp_path):
    class Full(SqliteKeyStore):
        def record_use(self, prefix, when):
            raise SaveFailed("disk is full")

    key = keys.create("me")
    auth = ApiKeyAuth(Full(tmp_path / "keys.db"))
    assert (await auth.authenticate(f"Bearer {key}")).name == "me"
    for note in [*auth._write_tasks]:
        await note
    assert "disk is full" in caplog.text
    assert key not in caplog.text


@pytest.fixture
def anyio_backend():
    return "asyncio"
