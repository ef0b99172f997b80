"""Another process that holds the store's lock, or is stopped while it writes, stalls nobody for long."""

import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from turnwise.core.errors import TurnwiseError, Unavailable
from turnwise.core.executors import TimeoutExecutor
from turnwise.core.file_lock import FileLock, LockTimeout
from turnwise.core.messages import Message
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="Windows has no flock and no SIGSTOP"),
    pytest.mark.timeout(120),
]
HOLD = """
import fcntl, sys, time
handle = open(sys.argv[1], "a")
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(100)
"""
WRITE = """
import sys
from turnwise.core.messages import Message
from turnwise.store import open_store

store = open_store(sys.argv[1])
id = store.create(title="loop", model="m").id
while True:
    store.append(id, [Message("user", "x" * 10_000)])
    print("wrote", flush=True)
"""
LIMIT = 20.0  # seconds; the store itself waits for 5, the machine may be busy, and before it was for ever


def start(program, *arguments):
    child = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    return child


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chats.db"


@pytest.fixture
def store(path):
    opened = open_store(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.fixture
def held(store, path):
    """Somebody holds the store's lock file."""
    child = start(HOLD, f"{path}.lock")
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_writer_gives_up_in_time_and_readers_do_not_wait(store, held):
    began = time.monotonic()

    def create():
        with pytest.raises(Unavailable, match="Nothing was changed; try again soon"):
            store.create(title="t", model="m")

    waiting = threading.Thread(target=create)
    waiting.start()
    while waiting.is_alive():
        before = time.monotonic()
        assert store.list() == []
        assert time.monotonic() - before < 2, "a reader waited for the writer"
        time.sleep(0.1)
    assert 3 < time.monotonic() - began < LIMIT
    held.kill()
    held.wait()
    assert store.create(title="t", model="m").title == "t"


def test_opening_a_store_that_is_held_gives_up_with_a_way_out(path, store, held):
    with pytest.raises(Unavailable, match=r"busy: another process .* more than 5 seconds\..*--store"):
        open_store(f"sqlite:///{path}")


def test_a_key_file_that_is_held_gives_up(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    keys.create("a")
    child = start(HOLD, tmp_path / "keys.db.lock")
    try:
        with pytest.raises(Unavailable, match=r"keys\.db is busy"):
            keys.create("b")
        assert [key.name for key in keys.list()] == ["a"]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_process_that_is_stopped_while_it_writes_hangs_nobody(path, store):
    id = store.create(title="t", model="m").id
    child = start(WRITE, f"sqlite:///{path}")
    try:
        refused = 0
        for _ in range(3):
            time.sleep(0.05)
            child.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            try:
                store.append(id, [Message("user", "hi")])
            except TurnwiseError:
                refused += 1
            assert store.get(id).title == "t"
            assert time.monotonic() - began < LIMIT
            child.send_signal(signal.SIGCONT)
            child.stdout.readline()
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:  # a process that writes without a pause does not starve others
            try:
                store.append(id, [Message("user", "hi")])
                break
            except Unavailable:
                continue
        assert store.get(id).messages
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_lock_goes_round_among_those_who_want_it(tmp_path):
    seen, end = [], time.monotonic() + 1.0

    def take_again_and_again(name):
        lock = FileLock(tmp_path / "x.lock")
        while time.monotonic() < end:
            with lock:
                seen.append(name)
                time.sleep(0.002)
        lock.close()

    threads = [threading.Thread(target=take_again_and_again, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(seen.count(n) for n in range(3)) > 3
    lock, other = FileLock(tmp_path / "x.lock", 0.05), FileLock(tmp_path / "x.lock")
    with other, pytest.raises(LockTimeout, match=r"more than 0\.05 seconds"):
        lock.acquire()
    lock.close()
    other.close()


def test_a_held_store_stalls_neither_health_nor_chats_without_a_conversation(store, held):
    chat = ScriptedChatService(store=store)
    with (
        serve_in_thread(create_app({"scripted": chat}, default="scripted")) as url,
        httpx.Client(base_url=url, timeout=LIMIT) as client,
    ):
        conversation_id = "conv_x"
        replies = []

        def ask():
            body = {"model": "latest", "messages": [{"role": "user", "content": "hi"}]}
            with httpx.Client(base_url=url, timeout=LIMIT) as own:
                replies.append(own.post("/v1/chat/completions", json={**body, "conversation_id": conversation_id}))

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        slowest, asked = 0.0, 0
        while any(thread.is_alive() for thread in threads):
            for method, route, body in (
                ("GET", "/health", None), ("GET", "/v1/conversations", None), ("GET", "/", None),
                ("POST", "/v1/chat/completions", {"model": "latest", "messages": [{"role": "user", "content": "hi"}]}),
            ):  # fmt: skip
                before = time.monotonic()
                assert client.request(method, route, json=body).status_code == 200
                slowest, asked = max(slowest, time.monotonic() - before), asked + 1
        assert asked > 8
        assert slowest < 4, "it waited for the store"
        assert {reply.status_code for reply in replies} == {503}
        assert all(int(reply.headers["Retry-After"]) >= 1 for reply in replies)
        assert "Try again" in replies[-1].json()["error"]["message"] or "try again" in replies[-1].text


def test_calls_in_the_background_have_a_time_limit_and_can_be_awaited_again():
    import asyncio

    calls, released = TimeoutExecutor("test", 1, seconds=0.2), threading.Event()

    async def use():
        first = calls.submit(released.wait, 10)
        late = []
        with pytest.raises(Unavailable, match=r"test did not answer within 0\.2 seconds"):
            await calls.run(late.append, 1)
        released.set()
        await asyncio.to_thread(first.result)
        assert await calls.run(int, "7") == 7
        assert late == [], "what was given up never starts"

    asyncio.run(use())
    assert calls.drain(5)
