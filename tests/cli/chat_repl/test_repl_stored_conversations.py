"""Stored conversations in the chat REPL: resumed, listed, loaded and branched."""

import pytest
from repl_scripts import contents, echo

from turnwise.core.errors import NotFound
from turnwise.core.messages import Message
from turnwise.testing import ScriptedChatService

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def two_conversations(store):
    """Two stored conversations, the one about lamps the latest."""
    for title in ("Tea", "Lamps"):
        id = store.create(title=title, model="scripted").id
        store.ensure_branch(id, [Message("user", f"{title}?"), Message("assistant", f"{title}!")])
    return store


@pytest.mark.parametrize("reference", ["last", "1", "lamps?", "id"])
def test_a_stored_conversation_is_resumed_by_any_reference(run_repl, two_conversations, reference):
    conversation = two_conversations.list()[0]
    repl, output = run_repl(
        ScriptedChatService(echo, store=two_conversations),
        "more",
        resume=conversation.id if reference == "id" else reference,
    )
    assert "Continuing: Lamps\nuser  Lamps?\nassistant  Lamps!\n" in output
    assert contents(repl.messages) == ["user: Lamps?", "assistant: Lamps!", "user: more", "assistant: 3: MORE"]
    assert [entry.message for entry in two_conversations.get(conversation.id).messages] == repl.messages
    assert len(two_conversations.list()) == 2


def test_conversations_are_listed_and_loaded(run_repl, two_conversations):
    repl, output = run_repl(
        ScriptedChatService(echo, store=two_conversations), "/list", "/load 2", "/load nonsense", "more"
    )
    assert [line.split("  ")[-1] for line in output.splitlines() if line.startswith("  ") and ":" in line] == [
        "Lamps",
        "Tea",
    ]
    assert "No conversation contains 'nonsense'." in output
    assert contents(repl.messages)[:3] == ["user: Tea?", "assistant: Tea!", "user: more"]


def test_resuming_without_a_stored_conversation_is_an_error(run_repl, store):
    with pytest.raises(NotFound, match="no stored conversation"):
        run_repl(ScriptedChatService(echo, store=store), resume="last")
    assert "Conversations are not stored" in run_repl(ScriptedChatService(echo), "/list")[1]


def test_edits_and_retries_are_stored_as_branches(run_repl, store):
    repl, _ = run_repl(ScriptedChatService(echo, store=store), "/edit x", "hello", "/edit good evening", "/retry")
    assert contents(repl.messages) == ["user: good evening", "assistant: 1: GOOD EVENING"]
    (conversation,) = store.list()
    assert [entry.message.content for entry in store.get(conversation.id).tree] == [
        "hello", "1: HELLO", "good evening", "1: GOOD EVENING", "1: GOOD EVENING",
    ]  # fmt: skip
