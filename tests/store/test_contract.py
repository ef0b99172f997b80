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


def thread(*texts):
    """Messages of user and assistant in turn."""
    return [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]


def branches(store, id):
    """All branches as texts."""
    tree = {kept.id: kept for kept in store.get(id).tree}
    parents = {kept.parent_id for kept in tree.values()}

    def path(kept):
        above = path(tree[kept.parent_id]) if kept.parent_id is not None else []
        return [*above, kept.message.content]

    return [path(kept) for kept in tree.values() if kept.id not in parents]


def test_extending_a_branch_adds_what_is_new_and_moves_the_head(store):
    id = store.create(title="t", model="m").id
    first = store.ensure_branch(id, thread("Hi"))
    second = store.ensure_branch(id, thread("Hi", "Hello!", "The lamp?"))
    assert second[:1] == first
    assert texts(store, id) == ["Hi", "Hello!", "The lamp?"]
    assert store.get(id).head == second[-1]
    assert branches(store, id) == [["Hi", "Hello!", "The lamp?"]]


def test_extending_with_what_is_stored_adds_nothing_and_keeps_the_head(store):
    id = store.create(title="t", model="m").id
    all_ids = store.ensure_branch(id, thread("Hi", "Hello!", "The lamp?"))
    assert store.ensure_branch(id, thread("Hi")) == all_ids[:1]
    assert store.ensure_branch(id, thread("Hi", "Hello!", "The lamp?")) == all_ids
    assert store.get(id).head == all_ids[-1]
    assert store.ensure_branch(id, []) == ()


def test_what_differs_becomes_a_branch_and_nothing_is_replaced(store):
    id = store.create(title="t", model="m").id
    store.ensure_branch(id, thread("Hi", "Hello!", "The lamp?", "Broken."))
    store.ensure_branch(id, thread("Hi", "Hello!", "I like tea."))
    store.ensure_branch(id, thread("Good evening"))
    assert texts(store, id) == ["Good evening"]
    assert branches(store, id) == [
        ["Hi", "Hello!", "The lamp?", "Broken."], ["Hi", "Hello!", "I like tea."], ["Good evening"],
    ]  # fmt: skip


def test_of_equal_beginnings_the_longest_is_extended_then_the_one_that_is_shown_then_the_latest(store):
    id = store.create(title="t", model="m").id
    (question,) = store.ensure_branch(id, thread("Hi"))
    older, newer = (store.append(id, [Message("assistant", "Hello!")], parent_id=question)[0] for _ in range(2))
    assert store.ensure_branch(id, thread("Hi", "Hello!")) == (question, newer)
    store.select_branch(id, older)
    assert store.ensure_branch(id, thread("Hi", "Hello!")) == (question, older)
    _, parent, _ = store.ensure_branch(id, thread("Hi", "Hello!", "Tea?"))
    assert parent == older
    store.select_branch(id, newer)
    assert store.ensure_branch(id, thread("Hi", "Hello!", "Tea?"))[1] == older


def test_answers_to_one_message_are_siblings(store):
    id = store.create(title="t", model="m").id
    (question,) = store.ensure_branch(id, thread("Hi"))
    answers = [store.append(id, [Message("assistant", text)], parent_id=question)[0] for text in ("a", "b", "c")]
    shown = store.get(id).messages[-1]
    assert (shown.message.content, shown.parent_id, list(shown.sibling_ids)) == ("c", question, answers)
    assert store.get(id).messages[0].sibling_ids == (question,)


def test_first_messages_are_siblings_too(store):
    id = store.create(title="t", model="m").id
    store.append(id, thread("Hi", "Hello!"))
    (other,) = store.append(id, thread("Good evening"), parent_id=None)
    shown = store.get(id)
    assert [kept.message.content for kept in shown.messages] == ["Good evening"]
    assert shown.messages[0].parent_id is None
    assert shown.messages[0].sibling_ids[1] == other


def test_selecting_a_message_shows_the_latest_branch_below_it(store):
    id = store.create(title="t", model="m").id
    old = store.ensure_branch(id, thread("Hi", "Hello!", "The lamp?", "Broken."))
    store.ensure_branch(id, thread("Hi", "Hello!", "I like tea."))
    store.ensure_branch(id, thread("Good evening"))
    store.select_branch(id, old[2])
    assert texts(store, id) == ["Hi", "Hello!", "The lamp?", "Broken."]
    store.select_branch(id, old[0])
    assert texts(store, id) == ["Hi", "Hello!", "I like tea."]
    with pytest.raises(NotFound, match="no message 'msg_nowhere'"):
        store.select_branch(id, "msg_nowhere")
    other = store.create(title="t", model="m").id
    with pytest.raises(NotFound, match="in this conversation"):
        store.select_branch(other, old[0])


def test_an_answer_that_is_being_written_is_updated_in_place(store):
    id = store.create(title="t", model="m").id
    (question,) = store.ensure_branch(id, thread("Hi"))
    (answer,) = store.append(id, [Message("assistant", "Hel")], {"finish": "in_progress"}, parent_id=question)
    store.ensure_branch(id, thread("Good evening"))
    store.update_message(answer, content=Message("assistant", "Hello!"), meta={"finish": "stop", "model": "m"})
    assert branches(store, id) == [["Hi", "Hello!"], ["Good evening"]]
    assert texts(store, id) == ["Good evening"], "an update does not move the head"
    store.update_message(answer, meta={"finish": None, "note": "n"})
    assert store.get(id).tree[1].meta == {"model": "m", "note": "n"}
    with pytest.raises(NotFound, match="no message 'msg_nowhere'"):
        store.update_message("msg_nowhere", meta={})


def test_a_message_of_another_conversation_is_no_parent(store):
    one, other = (store.create(title="t", model="m").id for _ in range(2))
    (question,) = store.ensure_branch(one, thread("Hi"))
    with pytest.raises(NotFound, match="no message"):
        store.append(other, thread("x"), parent_id=question)
    assert store.get(other).tree == ()


def test_extending_gives_a_title_where_there_is_none(store):
    id = store.create(title="", model="m").id
    store.ensure_branch(id, thread("Hi"), title="First")
    store.ensure_branch(id, thread("Hi", "Hello!"), title="Second")
    assert store.get(id).title == "First"


def test_a_long_conversation_with_many_branches_can_be_deleted(store):
    id = store.create(title="t", model="m").id
    long = thread(*map(str, range(3000)))
    store.ensure_branch(id, long)
    store.ensure_branch(id, [*long[:2000], Message("user", "another way")])
    assert len(store.get(id).tree) == 3001
    store.delete(id)
    assert store.list() == []


def test_the_list_is_newest_first_bounded_and_without_messages(store):
    ids = [store.create(title=str(i), model="m").id for i in range(4)]
    store.append(ids[1], [Message("user", "again")])
    listed = store.list()
    assert [c.id for c in listed] == [ids[1], ids[3], ids[2], ids[0]]
    assert all(c.messages == () for c in listed)
    assert [c.id for c in store.list(limit=2)] == [ids[1], ids[3]]
    with pytest.raises(InvalidParameter, match="at least 1"):
        store.list(limit=0)


def test_the_list_goes_on_after_any_entry(store):
    ids = [store.create(title=str(i), model="m").id for i in range(250)]
    pages, after = [], None
    while page := store.list(limit=100, after=after):
        pages.append([c.id for c in page])
        after = pages[-1][-1]
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [id for page in pages for id in page] == ids[::-1]
    with pytest.raises(NotFound):
        store.list(after="conv_nowhere")


def test_the_list_can_be_searched_in_titles_and_in_all_branches(store):
    tea, lamp, other = (store.create(title=title, model="m").id for title in ("Tea 100%", "t", "x"))
    store.ensure_branch(lamp, thread("Die GRÖSSE der Lampe?", "Groß."))
    store.ensure_branch(lamp, thread("Hi"))
    store.ensure_branch(other, thread("nothing"))
    assert [c.id for c in store.list(query="größe")] == [lamp], "sharp s counts as ss"
    assert [c.id for c in store.list(query="GROSS")] == [lamp]
    assert [c.id for c in store.list(query="tea")] == [tea]
    assert [c.id for c in store.list(query="0%")] == [tea]
    assert [c.id for c in store.list(query="t")] == [other, lamp, tea], "the last changed first"
    assert [c.id for c in store.list(query="t", limit=1, after=other)] == [lamp]


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
        lambda s, id: s.ensure_branch(id, [Message("user", "x")]),
        lambda s, id: s.select_branch(id, "msg_1"),
        lambda s, id: s.rename(id, "x"),
        lambda s, id: s.delete(id),
    ],
    ids=["get", "append", "extend", "select", "rename", "delete"],
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
