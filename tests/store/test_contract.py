"""The contract of conversation stores. A new backend adds its URL to `BACKENDS` and is tested by all of these."""

import threading
import time

import pytest

from turnwise.core.errors import InvalidData, InvalidParameter, NotFound
from turnwise.core.messages import Message, ToolCall
from turnwise.core.stored_conversations import ConversationChanges
from turnwise.store import open_store

BACKENDS = {
    "sqlite file": lambda folder: f"sqlite:///{folder / 'chats.db'}",
    "sqlite memory": lambda folder: "sqlite:///:memory:",
}


@pytest.fixture(params=BACKENDS)
def store(request, tmp_path):
    opened_store = open_store(BACKENDS[request.param](tmp_path))
    yield opened_store
    opened_store.close()


def texts(store, id):
    return [stored.message.content for stored in store.get(id).messages]


def test_a_new_conversation_is_empty_and_listed(store):
    created = store.create(title="Order", model="tiny")
    assert created.id.startswith("conv_")
    assert abs(created.created - time.time()) < 5
    assert store.get(created.id) == created
    assert store.list() == [created]


def test_messages_are_returned_in_order_and_unchanged(store):
    id = store.create(title="t", model="m").id
    messages = [
        Message("system", "Be kind."),
        Message("developer", ""),
        Message("user", "héllo 👋🏽 \x00 \r\n <|im_start|> '; DROP TABLE messages;--", name="Ada"),
        Message("assistant", "再见 " * 10_000),
    ]
    store.append(id, messages[:3])
    store.append(id, messages[3:], {"usage": {"completion_tokens": 3}, "finish": "stop"})
    stored = store.get(id).messages
    assert [entry.message for entry in stored] == messages
    assert [dict(entry.meta) for entry in stored] == [{}, {}, {}, {"usage": {"completion_tokens": 3}, "finish": "stop"}]
    assert len({entry.id for entry in stored}) == 4
    assert all(entry.id.startswith("msg_") for entry in stored)
    assert [entry.created for entry in stored] == sorted(entry.created for entry in stored)


def test_tool_calls_and_their_results_are_returned_unchanged(store):
    id = store.create(title="t", model="m").id
    calls = (ToolCall("call_1", "weather", '{"city": "Köln\\n"}'), ToolCall("call_2", "note", 'a "b"\n', "custom"))
    messages = [
        Message("assistant", "", tool_calls=calls),
        Message("tool", "sunny", "weather", tool_call_id="call_1"),
        Message("tool", "", tool_call_id="call_2"),
    ]
    store.append(id, messages)
    assert [stored.message for stored in store.get(id).messages] == messages


def test_pinned_messages_stay_pinned(store):
    id = store.create(title="t", model="m").id
    messages = [Message("user", "My name is Ada.", pinned=True), Message("user", "Hello")]
    store.append(id, messages)
    assert [stored.message for stored in store.get(id).messages] == messages


def test_append_is_atomic(store):
    id = store.create(title="t", model="m").id
    with pytest.raises(InvalidData, match="surrogate"):
        store.append(id, [Message("user", "fine"), Message("user", "half \ud800")])
    with pytest.raises(InvalidData, match="plain JSON"):
        store.append(id, [Message("user", "fine")], {"x": object()})
    assert texts(store, id) == []
    store.append(id, [Message("user", "still works")])
    assert texts(store, id) == ["still works"]


def dialogue(*texts):
    """Messages with alternating roles, from the user on."""
    return [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]


def branches(store, id):
    """All branches as texts."""
    tree = {stored.id: stored for stored in store.get(id).tree}
    parents = {stored.parent_id for stored in tree.values()}

    def branch_texts(stored):
        earlier = branch_texts(tree[stored.parent_id]) if stored.parent_id is not None else []
        return [*earlier, stored.message.content]

    return [branch_texts(stored) for stored in tree.values() if stored.id not in parents]


def test_extending_a_branch_adds_new_messages_and_moves_the_head(store):
    id = store.create(title="t", model="m").id
    first = store.ensure_branch(id, dialogue("Hi"))
    second = store.ensure_branch(id, dialogue("Hi", "Hello!", "The lamp?"))
    assert second[:1] == first
    assert texts(store, id) == ["Hi", "Hello!", "The lamp?"]
    assert store.get(id).head == second[-1]
    assert branches(store, id) == [["Hi", "Hello!", "The lamp?"]]


def test_ensuring_an_existing_branch_adds_nothing_and_keeps_the_head(store):
    id = store.create(title="t", model="m").id
    all_ids = store.ensure_branch(id, dialogue("Hi", "Hello!", "The lamp?"))
    assert store.ensure_branch(id, dialogue("Hi")) == all_ids[:1]
    assert store.ensure_branch(id, dialogue("Hi", "Hello!", "The lamp?")) == all_ids
    assert store.get(id).head == all_ids[-1]
    assert store.ensure_branch(id, []) == ()


def test_different_messages_become_a_branch_and_replace_nothing(store):
    id = store.create(title="t", model="m").id
    store.ensure_branch(id, dialogue("Hi", "Hello!", "The lamp?", "Broken."))
    store.ensure_branch(id, dialogue("Hi", "Hello!", "I like tea."))
    store.ensure_branch(id, dialogue("Good evening"))
    assert texts(store, id) == ["Good evening"]
    assert branches(store, id) == [
        ["Hi", "Hello!", "The lamp?", "Broken."], ["Hi", "Hello!", "I like tea."], ["Good evening"],
    ]  # fmt: skip


def test_among_equal_branches_the_longest_then_the_current_then_the_latest_is_extended(store):
    id = store.create(title="t", model="m").id
    (question,) = store.ensure_branch(id, dialogue("Hi"))
    older, newer = (store.append(id, [Message("assistant", "Hello!")], parent_id=question)[0] for _ in range(2))
    assert store.ensure_branch(id, dialogue("Hi", "Hello!")) == (question, newer)
    store.select_branch(id, older)
    assert store.ensure_branch(id, dialogue("Hi", "Hello!")) == (question, older)
    _, parent, _ = store.ensure_branch(id, dialogue("Hi", "Hello!", "Tea?"))
    assert parent == older
    store.select_branch(id, newer)
    assert store.ensure_branch(id, dialogue("Hi", "Hello!", "Tea?"))[1] == older


def test_responses_to_the_same_message_are_siblings(store):
    id = store.create(title="t", model="m").id
    (question,) = store.ensure_branch(id, dialogue("Hi"))
    response_ids = [store.append(id, [Message("assistant", text)], parent_id=question)[0] for text in ("a", "b", "c")]
    last = store.get(id).messages[-1]
    assert (last.message.content, last.parent_id, list(last.sibling_ids)) == ("c", question, response_ids)
    assert store.get(id).messages[0].sibling_ids == (question,)


def test_first_messages_are_siblings(store):
    id = store.create(title="t", model="m").id
    store.append(id, dialogue("Hi", "Hello!"))
    (second_id,) = store.append(id, dialogue("Good evening"), parent_id=None)
    conversation = store.get(id)
    assert [stored.message.content for stored in conversation.messages] == ["Good evening"]
    assert conversation.messages[0].parent_id is None
    assert conversation.messages[0].sibling_ids[1] == second_id


def test_selecting_a_message_selects_the_latest_branch_below_it(store):
    id = store.create(title="t", model="m").id
    first_ids = store.ensure_branch(id, dialogue("Hi", "Hello!", "The lamp?", "Broken."))
    store.ensure_branch(id, dialogue("Hi", "Hello!", "I like tea."))
    store.ensure_branch(id, dialogue("Good evening"))
    store.select_branch(id, first_ids[2])
    assert texts(store, id) == ["Hi", "Hello!", "The lamp?", "Broken."]
    store.select_branch(id, first_ids[0])
    assert texts(store, id) == ["Hi", "Hello!", "I like tea."]
    with pytest.raises(NotFound, match="no message 'msg_unknown'"):
        store.select_branch(id, "msg_unknown")
    unrelated = store.create(title="t", model="m").id
    with pytest.raises(NotFound, match="in this conversation"):
        store.select_branch(unrelated, first_ids[0])


def test_a_response_in_progress_is_updated_in_place(store):
    id = store.create(title="t", model="m").id
    (question,) = store.ensure_branch(id, dialogue("Hi"))
    (response_id,) = store.append(id, [Message("assistant", "Hel")], {"finish": "in_progress"}, parent_id=question)
    store.ensure_branch(id, dialogue("Good evening"))
    store.update_message(response_id, content=Message("assistant", "Hello!"), meta={"finish": "stop", "model": "m"})
    assert branches(store, id) == [["Hi", "Hello!"], ["Good evening"]]
    assert texts(store, id) == ["Good evening"], "an update does not move the head"
    store.update_message(response_id, meta={"finish": None, "note": "n"})
    assert store.get(id).tree[1].meta == {"model": "m", "note": "n"}
    with pytest.raises(NotFound, match="no message 'msg_unknown'"):
        store.update_message("msg_unknown", meta={})


def test_a_message_of_another_conversation_cannot_be_the_parent(store):
    first, second = (store.create(title="t", model="m").id for _ in range(2))
    (question,) = store.ensure_branch(first, dialogue("Hi"))
    with pytest.raises(NotFound, match="no message"):
        store.append(second, dialogue("x"), parent_id=question)
    assert store.get(second).tree == ()


def test_ensure_branch_sets_a_missing_title(store):
    id = store.create(title="", model="m").id
    store.ensure_branch(id, dialogue("Hi"), title="First")
    store.ensure_branch(id, dialogue("Hi", "Hello!"), title="Second")
    assert store.get(id).title == "First"


def test_a_long_conversation_with_many_branches_can_be_deleted(store):
    id = store.create(title="t", model="m").id
    messages = dialogue(*map(str, range(3000)))
    store.ensure_branch(id, messages)
    store.ensure_branch(id, [*messages[:2000], Message("user", "another way")])
    assert len(store.get(id).tree) == 3001
    store.delete(id)
    assert store.list() == []


def test_the_list_is_newest_first_limited_and_without_messages(store):
    ids = [store.create(title=str(i), model="m").id for i in range(4)]
    store.append(ids[1], [Message("user", "again")])
    listed = store.list()
    assert [c.id for c in listed] == [ids[1], ids[3], ids[2], ids[0]]
    assert all(c.messages == () for c in listed)
    assert [c.id for c in store.list(limit=2)] == [ids[1], ids[3]]
    with pytest.raises(InvalidParameter, match="at least 1"):
        store.list(limit=0)


def test_the_list_can_be_paginated_after_any_entry(store):
    ids = [store.create(title=str(i), model="m").id for i in range(250)]
    pages, after = [], None
    while page := store.list(limit=100, after=after):
        pages.append([c.id for c in page])
        after = pages[-1][-1]
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [id for page in pages for id in page] == ids[::-1]
    with pytest.raises(NotFound):
        store.list(after="conv_unknown")


def test_the_list_can_be_searched_in_titles_and_in_all_branches(store):
    tea, lamp, unrelated = (store.create(title=title, model="m").id for title in ("Tea 100%", "t", "x"))
    store.ensure_branch(lamp, dialogue("Die GRÖSSE der Lampe?", "Groß."))
    store.ensure_branch(lamp, dialogue("Hi"))
    store.ensure_branch(unrelated, dialogue("nothing"))
    assert [c.id for c in store.list(query="größe")] == [lamp], "sharp s counts as ss"
    assert [c.id for c in store.list(query="GROSS")] == [lamp]
    assert [c.id for c in store.list(query="tea")] == [tea]
    assert [c.id for c in store.list(query="0%")] == [tea]
    assert [c.id for c in store.list(query="t")] == [unrelated, lamp, tea], "the last updated first"
    assert [c.id for c in store.list(query="t", limit=1, after=unrelated)] == [lamp]


def test_rename_changes_the_title_and_not_the_order(store):
    first, second = store.create(title="a", model="m"), store.create(title="b", model="m")
    store.update(first.id, ConversationChanges(title="A better title"))
    assert [(c.id, c.title) for c in store.list()] == [(second.id, "b"), (first.id, "A better title")]


def test_delete_removes_only_the_conversation(store):
    deleted, remaining = store.create(title="a", model="m").id, store.create(title="b", model="m").id
    for id in (deleted, remaining):
        store.append(id, [Message("user", id)])
    store.delete(deleted)
    assert [c.id for c in store.list()] == [remaining]
    assert texts(store, remaining) == [remaining]
    with pytest.raises(NotFound):
        store.get(deleted)


@pytest.mark.parametrize(
    "call",
    [
        lambda s, id: s.get(id),
        lambda s, id: s.append(id, [Message("user", "x")]),
        lambda s, id: s.ensure_branch(id, [Message("user", "x")]),
        lambda s, id: s.select_branch(id, "msg_1"),
        lambda s, id: s.update(id, ConversationChanges(title="x")),
        lambda s, id: s.delete(id),
    ],
    ids=["get", "append", "extend", "select", "rename", "delete"],
)
def test_an_unknown_conversation_is_named_in_the_error(store, call):
    with pytest.raises(NotFound, match="no conversation 'conv_unknown'"):
        call(store, "conv_unknown")
    assert store.list() == []


def test_concurrent_threads_lose_no_messages(store):
    id = store.create(title="t", model="m").id
    failures = []

    def append_messages(name):
        try:
            for i in range(10):
                store.append(id, [Message("user", f"{name}:{i}"), Message("assistant", f"{name}:{i}!")])
                store.get(id)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=append_messages, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    stored_texts = texts(store, id)
    assert len(stored_texts) == len(set(stored_texts)) == 80
    assert all(stored_texts[i + 1] == stored_texts[i] + "!" for i in range(0, 80, 2)), (
        "the messages of one append stay together"
    )


def test_a_store_can_be_closed_twice(store):
    store.close()
    store.close()


@pytest.mark.parametrize(
    "url", ["", "chats.db", "postgres://host/x", "sqlit:///x.db", "sqlite://", "sqlite:///", "sqlite://host/x.db",
            "migrations:///x", "sqlite:///a\0b"],
)  # fmt: skip
def test_an_unsupported_url_is_rejected_with_the_supported_schemes(url):
    with pytest.raises(InvalidParameter, match="sqlite"):
        open_store(url)
