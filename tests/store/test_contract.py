"""What every store must do. A new backend adds its URL to `BACKENDS` and runs through all of it."""

import threading
import time

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter, NotFound
from turnwise.core.messages import Message, ToolCall
from turnwise.store import open_store

BACKENDS = {
    "sqlite file": lambda folder: f"sqlite:///{folder / 'chats.db'}",
    "sqlite memory": lambda folder: "sqlite:///:memory:",
}


@pytest.fixture(params=BACKENDS)
def store(request, tmp_path):
    opened = open_store(BACKENDS[request.param](tmp_path))
    yield opened
    opened.close()


def texts(store, id):
    return [kept.message.content for kept in store.get(id).messages]


def test_a_new_conversation_is_empty_and_listed(store):
    made = store.create(title="Order", model="tiny")
    assert made.id.startswith("conv_")
    assert abs(made.created - time.time()) < 5
    assert store.get(made.id) == made
    assert store.list() == [made]


def test_messages_come_back_in_order_and_unchanged(store):
    id = store.create(title="t", model="m").id
    said = [
        Message("system", "Be kind."),
        Message("developer", ""),
        Message("user", "héllo 👋🏽 \x00 \r\n <|im_start|> '; DROP TABLE messages;--", name="Ada"),
        Message("assistant", "再见 " * 10_000),
    ]
    store.append(id, said[:3])
    store.append(id, said[3:], {"usage": {"completion_tokens": 3}, "finish": "stop"})
    kept = store.get(id).messages
    assert [k.message for k in kept] == said
    assert [dict(k.meta) for k in kept] == [{}, {}, {}, {"usage": {"completion_tokens": 3}, "finish": "stop"}]
    assert len({k.id for k in kept}) == 4
    assert all(k.id.startswith("msg_") for k in kept)
    assert [k.created for k in kept] == sorted(k.created for k in kept)


def test_tool_calls_and_their_answers_come_back_unchanged(store):
    id = store.create(title="t", model="m").id
    calls = (ToolCall("call_1", "weather", '{"city": "Köln\\n"}'), ToolCall("call_2", "note", 'a "b"\n', "custom"))
    said = [
        Message("assistant", "", tool_calls=calls),
        Message("tool", "sunny", "weather", tool_call_id="call_1"),
        Message("tool", "", tool_call_id="call_2"),
    ]
    store.append(id, said)
    assert [kept.message for kept in store.get(id).messages] == said


def test_pins_are_kept(store):
    id = store.create(title="t", model="m").id
    said = [Message("user", "My name is Ada.", pinned=True), Message("user", "Hello")]
    store.append(id, said)
    assert [kept.message for kept in store.get(id).messages] == said


def test_append_is_all_or_nothing(store):
    id = store.create(title="t", model="m").id
    with pytest.raises(InvalidData, match="surrogate"):
        store.append(id, [Message("user", "fine"), Message("user", "half \ud800")])
    with pytest.raises(InvalidData, match="plain JSON"):
        store.append(id, [Message("user", "fine")], {"x": object()})
    assert texts(store, id) == []
    store.append(id, [Message("user", "still works")])
    assert texts(store, id) == ["still works"]


def test_truncate_keeps_the_first_messages_and_appending_goes_on_there(store):
    id = store.create(title="t", model="m").id
    store.append(id, [Message("user", str(i)) for i in range(5)])
    store.truncate(id, 9)
    assert texts(store, id) == ["0", "1", "2", "3", "4"]
    store.truncate(id, 2)
    store.append(id, [Message("user", "new")])
    assert texts(store, id) == ["0", "1", "new"]
    store.truncate(id, 0)
    assert texts(store, id) == []
    with pytest.raises(InvalidParameter, match="at least 0, got -1"):
        store.truncate(id, -1)


def test_the_list_is_newest_first_bounded_and_without_messages(store):
    ids = [store.create(title=str(i), model="m").id for i in range(4)]
    store.append(ids[1], [Message("user", "again")])
    listed = store.list()
    assert [c.id for c in listed] == [ids[1], ids[3], ids[2], ids[0]]
    assert all(c.messages == () for c in listed)
    assert [c.id for c in store.list(limit=2)] == [ids[1], ids[3]]
    with pytest.raises(InvalidParameter, match="at least 1"):
        store.list(limit=0)


def test_rename_changes_the_title_and_not_the_place(store):
    first, second = store.create(title="a", model="m"), store.create(title="b", model="m")
    store.rename(first.id, "A better title")
    assert [(c.id, c.title) for c in store.list()] == [(second.id, "b"), (first.id, "A better title")]


def test_delete_forgets_it_and_nothing_else(store):
    gone, stays = store.create(title="a", model="m").id, store.create(title="b", model="m").id
    for id in (gone, stays):
        store.append(id, [Message("user", id)])
    store.delete(gone)
    assert [c.id for c in store.list()] == [stays]
    assert texts(store, stays) == [stays]
    with pytest.raises(NotFound):
        store.get(gone)


@pytest.mark.parametrize(
    "act",
    [
        lambda s, id: s.get(id),
        lambda s, id: s.append(id, [Message("user", "x")]),
        lambda s, id: s.truncate(id, 0),
        lambda s, id: s.rename(id, "x"),
        lambda s, id: s.delete(id),
    ],
    ids=["get", "append", "truncate", "rename", "delete"],
)
def test_an_unknown_conversation_is_named_in_the_error(store, act):
    with pytest.raises(NotFound, match="no conversation 'conv_nowhere'"):
        act(store, "conv_nowhere")
    assert store.list() == []


def test_threads_take_turns(store):
    id = store.create(title="t", model="m").id
    failures = []

    def work(name):
        try:
            for i in range(10):
                store.append(id, [Message("user", f"{name}:{i}"), Message("assistant", f"{name}:{i}!")])
                store.get(id)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    said = texts(store, id)
    assert len(said) == len(set(said)) == 80
    assert all(said[i + 1] == said[i] + "!" for i in range(0, 80, 2)), "the messages of one append stay together"


def test_close_twice_is_fine(store):
    store.close()
    store.close()


@pytest.mark.parametrize(
    "url", ["", "chats.db", "postgres://here/x", "sqlit:///x.db", "sqlite://", "sqlite:///", "sqlite://host/x.db",
            "migrations:///x", "sqlite:///a\0b"],
)  # fmt: skip
def test_a_url_nobody_serves_is_refused_with_the_known_schemes(url):
    with pytest.raises(InvalidParameter, match="sqlite"):
        open_store(url)
