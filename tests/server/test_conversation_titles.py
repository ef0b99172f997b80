"""Titles by the model: when they are written, and which ones are taken."""

import asyncio
import threading
import time

import httpx
import pytest

from turnwise.core.stored_conversations import ConversationChanges
from turnwise.server.app import create_app
from turnwise.server.conversation_titles import clean_title
from turnwise.server.middleware.concurrency_limit import ConcurrencyLimiter, ServerLimits
from turnwise.store.sqlite.key_store import SqliteKeyStore
from turnwise.testing import ScriptedChatService, serve_in_thread

QUESTION = "How do I cancel my order?"


def script(chat_request):
    is_title = "Write a title" in chat_request.messages[-1].content
    return ["Cancelling an order"] if is_title else ["You cancel it ", "under Orders."]


@pytest.fixture
def client(url, services, store):
    services["scripted"] = ScriptedChatService(script, store=store)
    with httpx.Client(base_url=url) as created:
        yield created


def start(client, **fields):
    return client.post("/v1/conversations", json={"title": "How do I", **fields}).json()["id"]


def ask(client, id, *texts, stream=False, **fields):
    messages = [{"role": "user", "content": text} for text in texts or (QUESTION,)]
    body = {"model": "latest", "messages": messages, "conversation_id": id, "stream": stream, **fields}
    client.post("/v1/chat/completions", json=body).raise_for_status()


def title_after(store, id, seconds):
    """The title, as soon as it has changed or after some seconds."""
    deadline = time.monotonic() + seconds
    while store.get(id).title == "How do I" and time.monotonic() < deadline:
        time.sleep(0.02)
    return store.get(id).title


@pytest.mark.parametrize("stream", [True, False])
def test_the_model_replaces_the_first_words(client, store, services, stream):
    id = start(client, auto_title=True)
    ask(client, id, stream=stream)
    assert title_after(store, id, 5) == "Cancelling an order"
    assert store.get(id).title_source == "model"
    title_request = services["scripted"].requests[-1]
    assert QUESTION in title_request.messages[0].content
    assert (title_request.conversation_id, title_request.consent) == (None, "off")


def test_a_title_of_the_user_stays(client, store, services):
    own, renamed = start(client), start(client, auto_title=True)
    store.update(renamed, ConversationChanges(title="Mine"))
    for id in (own, renamed):
        ask(client, id)
    assert title_after(store, own, 0.6) == "How do I"
    assert store.get(renamed).title == "Mine"
    assert len(services["scripted"].requests) == 2, "no title was asked for"


def test_a_later_answer_gets_no_title(client, store, services):
    id = start(client, auto_title=True)
    ask(client, id, "one", "two")
    assert title_after(store, id, 0.6) == "How do I"
    assert len(services["scripted"].requests) == 1


def test_titles_can_be_turned_off(store):
    chat = ScriptedChatService(script, store=store)
    with (
        serve_in_thread(create_app({"s": chat}, default="s", auto_titles=False)) as url,
        httpx.Client(base_url=url) as client,
    ):
        id = start(client, auto_title=True)
        ask(client, id)
        assert title_after(store, id, 0.6) == "How do I"
    assert len(chat.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_the_title_is_about_the_first_of_several_choices(client, store, services, stream):
    id = start(client, auto_title=True)
    ask(client, id, stream=stream, n=3)
    assert title_after(store, id, 5) == "Cancelling an order"
    assert services["scripted"].requests[-1].messages[0].content.count("under Orders.") == 1


def test_a_title_takes_no_slot_of_the_key(store, tmp_path):
    is_title_asked, is_answered = threading.Event(), threading.Event()

    def wait_for_the_next_answer(chat_request):
        if "Write a title" in chat_request.messages[-1].content:
            is_title_asked.set()
        return script(chat_request)

    class SlowTitles(ScriptedChatService):
        async def _deltas(self, request):
            async for delta in super()._deltas(request):
                if is_title_asked.is_set() and request.is_internal:
                    await asyncio.to_thread(is_answered.wait, 5)
                yield delta

    keys = SqliteKeyStore(tmp_path / "keys.db")
    secret = keys.create("one", max_concurrent=1)
    app = create_app({"s": SlowTitles(wait_for_the_next_answer, store=store)}, default="s", keys=keys)
    headers = {"authorization": f"Bearer {secret}"}
    with serve_in_thread(app) as url, httpx.Client(base_url=url, headers=headers) as client:
        id = start(client, auto_title=True)
        ask(client, id)
        assert is_title_asked.wait(5)
        ask(client, start(client))
        is_answered.set()
        assert title_after(store, id, 5) == "Cancelling an order"


def test_a_title_leaves_a_slot_of_the_server_for_the_next_request(store):
    chat = ScriptedChatService(script, store=store)
    limits = ServerLimits(max_concurrent_requests=1)
    with (
        serve_in_thread(create_app({"s": chat}, default="s", limits=limits)) as url,
        httpx.Client(base_url=url) as client,
    ):
        id = start(client, auto_title=True)
        ask(client, id)
        assert title_after(store, id, 0.6) == "How do I"
    assert len(chat.requests) == 1


@pytest.mark.parametrize(
    ("num_active", "max_num_seqs", "is_spare"), [(0, 1, True), (1, 1, False), (2, None, True), (3, None, False)]
)
def test_a_spare_slot_delays_nobody(num_active, max_num_seqs, is_spare):
    limiter = ConcurrencyLimiter(ServerLimits(max_concurrent_requests=4, max_num_seqs=max_num_seqs))
    for _ in range(num_active):
        limiter.acquire(asyncio.Timeout(None), None)
    assert limiter.has_spare_slot == is_spare


@pytest.mark.parametrize(
    ("reply", "title"),
    [
        ("Cancelling an order", "Cancelling an order"),
        ('Title: "Order cancellation."', "Order cancellation"),
        ("**Cancel the order**\n\nIt is about orders.", "Cancel the order"),
        ("标题：取消订单", "取消订单"),
        ("", None),
        ("You can cancel your order on the page of your orders at any time", None),
        ("How can I help you with the order?", None),
        ("The capital of Portugal", None),
        ("I am an AI", None),
        ("Here is the title of the order:", None),
        ("order " * 30, None),
        ("You cancel it under Orders", None),
        ("order\u202eevil", None),
    ],
)
def test_only_a_reasonable_title_is_taken(reply, title):
    assert clean_title(reply, "How do I cancel my order? 我想取消订单", "You cancel it under Orders.") == title
