"""The usage of API keys: what is counted, when it is written, and what a stopped or killed server loses."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial

import httpx
import pytest

from turnwise.core.errors import SaveFailed
from turnwise.core.key_usage import UsageCounts, utc_day
from turnwise.server.app import create_app
from turnwise.server.usage_recorder import UsageRecorder
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.store.sqlite.key_usage_store import SqliteKeyUsageStore
from turnwise.testing import ScriptedChatService, serve_in_thread

SERVER_PROGRAM = """
import sys
from pathlib import Path
from turnwise.server.app import create_app
from turnwise.server.uvicorn_server import serve
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.store.sqlite.key_usage_store import SqliteKeyUsageStore
from turnwise.testing import ScriptedChatService
path = Path(sys.argv[1])
app = create_app({"scripted": ScriptedChatService()}, default="scripted", keys=SqliteKeyStore(path),
                 key_usage=SqliteKeyUsageStore(path))
serve(app, port=0, on_listening=lambda url: print(url, flush=True))
"""
CHAT = {"model": "latest", "messages": [{"role": "user", "content": "Hello there"}]}


class Usage:
    """The stored usage, and the keys of three callers."""

    def __init__(self, path):
        self.store, self.keys = SqliteKeyUsageStore(path), SqliteKeyStore(path)
        self.key = self.keys.create("shop")
        self.admin = self.keys.create("admin", role="admin")

    def counts(self, key="shop"):
        first = utc_day(time.time()) - timedelta(days=1)
        return sum((counts for (_, name), counts in self.store.since(first) if name == key), UsageCounts())

    def wait_for(self, num_requests, key="shop", seconds=10):
        """Return the counts once they have so many requests."""
        deadline = time.monotonic() + seconds
        while self.counts(key).requests < num_requests:
            assert time.monotonic() < deadline, self.counts(key)
            time.sleep(0.02)
        return self.counts(key)


@pytest.fixture
def usage(tmp_path):
    return Usage(tmp_path / "keys.db")


@pytest.fixture
def chat():
    store = open_store("sqlite:///:memory:")
    yield ScriptedChatService(store=store, delay=0.01)
    store.close()


@pytest.fixture
def url(usage, chat, monkeypatch):
    monkeypatch.setattr("turnwise.server.app.UsageRecorder", partial(UsageRecorder, flush_seconds=0.05))
    app = create_app({"scripted": chat}, default="scripted", keys=usage.keys, key_usage=usage.store, auto_titles=False)
    with serve_in_thread(app) as url:
        yield url


def post(url, key, path="/v1/chat/completions", body=CHAT):
    return httpx.post(url + path, json=body, headers={"authorization": f"Bearer {key}"}, timeout=20)


def test_requests_and_tokens_are_those_of_the_answers(url, usage):
    sums = UsageCounts()
    for stream in (False, True):
        body = CHAT | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})
        assert post(url, usage.key, body=body).status_code == 200
    answer = post(url, usage.key).json()["usage"]
    for _ in range(3):
        sums += UsageCounts(1, answer["prompt_tokens"], answer["completion_tokens"])
    assert answer["completion_tokens"] > 0
    assert usage.wait_for(3) == sums


def test_rejected_and_failed_requests_are_errors(url, usage, chat):
    chat._fail_after = 1
    assert post(url, usage.key).status_code == 500
    assert post(url, usage.key, body=CHAT | {"temperature": -1}).status_code == 400
    assert post(url, usage.key, body=CHAT | {"stream": True}).status_code == 200, "it fails after its start"
    counts = usage.wait_for(3)
    assert (counts.requests, counts.errors) == (3, 3)


def test_what_a_rate_limit_rejects_is_an_error_of_its_key(url, usage):
    key = usage.keys.create("limited", requests_per_minute=1)
    statuses = [post(url, key).status_code for _ in range(3)]
    assert statuses == [200, 429, 429]
    assert usage.wait_for(3, "limited").errors == 2


def test_requests_that_run_no_model_and_wrong_keys_are_not_counted(url, usage):
    headers = {"authorization": f"Bearer {usage.key}"}
    assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
    assert post(url, "tw-wrong").status_code == 401
    post(url, usage.key)
    time.sleep(0.2)
    assert usage.wait_for(1).requests == 1
    assert usage.counts("admin") == UsageCounts()


def test_an_answer_without_a_client_is_counted_when_it_ends(url, usage, chat):
    chat._script = tuple(f"w{number} " for number in range(20))
    headers = {"authorization": f"Bearer {usage.key}"}
    id = httpx.post(f"{url}/v1/conversations", json={"title": "t"}, headers=headers).json()["id"]
    body = CHAT | {"conversation_id": id, "stream": True, "background": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        next(line for line in response.iter_lines() if "w0" in line)
    usage.wait_for(1)
    deadline = time.monotonic() + 8
    while usage.counts().completion_tokens < 20:
        assert time.monotonic() < deadline, usage.counts()
        time.sleep(0.02)
    assert (usage.counts().requests, usage.counts().errors) == (1, 0)


def test_the_route_has_the_counts_by_day_and_key(url, usage):
    post(url, usage.key)
    usage.wait_for(1)
    headers = {"authorization": f"Bearer {usage.admin}"}
    listed = httpx.get(f"{url}/v1/usage?days=7", headers=headers).json()
    today = utc_day(time.time())
    assert (listed["first_day"], listed["last_day"]) == (str(today - timedelta(days=6)), str(today))
    [row] = listed["data"]
    assert (row["key"], row["requests"], row["errors"]) == ("shop", 1, 0)
    for days in ("0", "91", "x"):
        assert httpx.get(f"{url}/v1/usage?days={days}", headers=headers).status_code == 400


class FailingStore:
    """A store that fails a number of times."""

    def __init__(self, num_failures):
        self.num_failures, self.added = num_failures, []
        self.loop, self.stored = asyncio.get_running_loop(), asyncio.Event()

    def add(self, counts):
        if self.num_failures:
            self.num_failures -= 1
            raise SaveFailed("The disk is full.")
        self.added.append(counts)
        self.loop.call_soon_threadsafe(self.stored.set)


def test_counts_of_a_failed_write_are_in_the_next_one(caplog):
    async def run():
        store = FailingStore(2)
        recorder = UsageRecorder(store, flush_seconds=0.01, clock=lambda: 0.0)
        recorder.record("shop", UsageCounts(1))
        await asyncio.sleep(0.015)
        recorder.record("shop", UsageCounts(1))
        await store.stored.wait()
        await recorder.close()
        return store.added

    [counts] = asyncio.run(asyncio.wait_for(run(), 10))
    assert list(counts.values()) == [UsageCounts(2)]
    assert caplog.text.count("cannot be stored now") == 1


def start_server(path):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER_PROGRAM, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return server, server.stdout.readline().strip()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_stopped_server_loses_nothing_and_a_killed_one_the_last_seconds(usage, tmp_path):
    (stopped, stopped_url), (killed, killed_url) = (start_server(tmp_path / "keys.db") for _ in range(2))
    try:
        for _ in range(5):
            assert post(stopped_url, usage.key).status_code == post(killed_url, usage.key).status_code == 200
        usage.wait_for(10)
        assert post(killed_url, usage.key).status_code == 200
        killed.kill()
        assert post(stopped_url, usage.key).status_code == 200
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(20) == 0
        assert usage.counts().requests == 11
    finally:
        for server in (stopped, killed):
            server.kill()
            server.communicate()
