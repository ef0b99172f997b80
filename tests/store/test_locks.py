"""A process that holds the lock of the store, or is stopped during a write, delays others only briefly."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

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
LOCK_PROGRAM = """
import fcntl, sys, time
handle = open(sys.argv[1], "a")
fcntl.flock(handle, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(100)
"""
WRITE_PROGRAM = """
import sys
from turnwise.core.messages import Message
from turnwise.store import open_store

store = open_store(sys.argv[1])
id = store.create(title="loop", model="m").id
while True:
    store.append(id, [Message("user", "x" * 10_000)])
    print("written", flush=True)
"""
MAX_WAIT = 20.0  # seconds; the store waits for 5, and the machine may be busy


def start(program, *arguments):
    child = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    return child


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chats.db"


@pytest.fixture
def store(path):
    opened_store = open_store(f"sqlite:///{path}")
    yield opened_store
    opened_store.close()


@pytest.fixture
def lock_holder(store, path):
    """A process that holds the lock file of the store."""
    child = start(LOCK_PROGRAM, f"{path}.lock")
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_writer_times_out_and_readers_do_not_wait(store, lock_holder):
    start_time = time.monotonic()

    def create():
        with pytest.raises(Unavailable, match="Nothing was changed; try again soon"):
            store.create(title="t", model="m")

    writer = threading.Thread(target=create)
    writer.start()
    while writer.is_alive():
        read_start = time.monotonic()
        assert store.list() == []
        assert time.monotonic() - read_start < 2, "a reader waited for the writer"
        time.sleep(0.1)
    assert 3 < time.monotonic() - start_time < MAX_WAIT
    lock_holder.kill()
    lock_holder.wait()
    assert store.create(title="t", model="m").title == "t"


def test_opening_a_locked_store_times_out_with_a_hint(path, store, lock_holder):
    with pytest.raises(Unavailable, match=r"busy: another process .* more than 5 seconds\..*--store"):
        open_store(f"sqlite:///{path}")


def test_creating_a_key_in_a_locked_file_times_out(tmp_path):
    keys = SqliteKeyStore(tmp_path / "keys.db")
    keys.create("a")
    child = start(LOCK_PROGRAM, tmp_path / "keys.db.lock")
    try:
        with pytest.raises(Unavailable, match=r"keys\.db is busy"):
            keys.create("b")
        assert [key.name for key in keys.list()] == ["a"]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_process_that_is_stopped_during_a_write_blocks_no_other(path, store):
    id = store.create(title="t", model="m").id
    child = start(WRITE_PROGRAM, f"sqlite:///{path}")
    try:
        for _ in range(3):
            time.sleep(0.05)
            child.send_signal(signal.SIGSTOP)
            start_time = time.monotonic()
            with suppress(TurnwiseError):
                store.append(id, [Message("user", "hi")])
            assert store.get(id).title == "t"
            assert time.monotonic() - start_time < MAX_WAIT
            child.send_signal(signal.SIGCONT)
            child.stdout.readline()
        deadline = time.monotonic() + MAX_WAIT
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


def test_threads_take_turns_with_a_lock(tmp_path):
    holders, end = [], time.monotonic() + 1.0

    def acquire_repeatedly(name):
        lock = FileLock(tmp_path / "x.lock")
        while time.monotonic() < end:
            with lock:
                holders.append(name)
                time.sleep(0.002)
        lock.close()

    threads = [threading.Thread(target=acquire_repeatedly, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(holders.count(n) for n in range(3)) > 3
    lock, held_lock = FileLock(tmp_path / "x.lock", 0.05), FileLock(tmp_path / "x.lock")
    with held_lock, pytest.raises(LockTimeout, match=r"more than 0\.05 seconds"):
        lock.acquire()
    lock.close()
    held_lock.close()


def test_a_locked_store_delays_neither_health_checks_nor_unstored_chats(store, lock_holder):
    chat = ScriptedChatService(store=store)
    with (
        serve_in_thread(create_app({"scripted": chat}, default="scripted")) as url,
        httpx.Client(base_url=url, timeout=MAX_WAIT) as client,
    ):
        conversation_id = "conv_x"
        replies = []

        def send_chat():
            body = {"model": "latest", "messages": [{"role": "user", "content": "hi"}]}
            with httpx.Client(base_url=url, timeout=MAX_WAIT) as chat_client:
                replies.append(
                    chat_client.post("/v1/chat/completions", json={**body, "conversation_id": conversation_id})
                )

        threads = [threading.Thread(target=send_chat) for _ in range(20)]
        for thread in threads:
            thread.start()
        slowest, num_requests = 0.0, 0
        while any(thread.is_alive() for thread in threads):
            for method, route, body in (
                ("GET", "/health", None), ("GET", "/v1/conversations", None), ("GET", "/", None),
                ("POST", "/v1/chat/completions", {"model": "latest", "messages": [{"role": "user", "content": "hi"}]}),
            ):  # fmt: skip
                request_start = time.monotonic()
                assert client.request(method, route, json=body).status_code == 200
                slowest, num_requests = max(slowest, time.monotonic() - request_start), num_requests + 1
        assert num_requests > 8
        assert slowest < 4, "a request waited for the store"
        assert {reply.status_code for reply in replies} == {503}
        assert all(int(reply.headers["Retry-After"]) >= 1 for reply in replies)
        assert "Try again" in replies[-1].json()["error"]["message"] or "try again" in replies[-1].text


def test_executor_calls_time_out_and_can_be_awaited_again():
    import asyncio

    executor, released = TimeoutExecutor("test", 1, seconds=0.2), threading.Event()

    async def use_executor():
        first = executor.submit(released.wait, 10)
        late = []
        with pytest.raises(Unavailable, match=r"test did not answer within 0\.2 seconds"):
            await executor.run(late.append, 1)
        released.set()
        await asyncio.to_thread(first.result)
        assert await executor.run(int, "7") == 7
        assert late == [], "a call that timed out in the queue never starts"

    asyncio.run(use_executor())
    assert executor.drain(5)
