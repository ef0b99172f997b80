"""Keeping a conversation in step with what was sent: new turns are added, an edited one replaces what came after."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from turnwise.core.errors import NotFound
from turnwise.core.messages import Message
from turnwise.core.ports import ConversationStore

TITLE_LENGTH = 60


def remember(store: ConversationStore, conversation_id: str, messages: Sequence[Message], continuing: bool) -> None:
    """Make the kept conversation hold exactly `messages`; done before the answer begins, so a crash loses no question.

    While continuing, the last message is left out: it comes back longer with the reply.
    """
    said = list(messages[:-1] if continuing else messages)
    kept = store.get(conversation_id)
    same = 0
    for stored, message in zip(kept.messages, said, strict=False):
        if stored.message != message:
            break
        same += 1
    if same < len(kept.messages):
        store.truncate(conversation_id, same)
    if same < len(said):
        store.append(conversation_id, said[same:])
    if not kept.title and (title := title_of(said)):
        store.rename(conversation_id, title)


def remember_reply(store: ConversationStore, conversation_id: str, reply: Message, meta: Mapping[str, Any]) -> None:
    """Add the answer, also one that was cut short; `meta` says how it ended.

    A conversation that was deleted while the answer was on its way stays deleted.
    """
    if reply.content or reply.tool_calls:
        with suppress(NotFound):
            store.append(conversation_id, [reply], meta)


def title_of(messages: Sequence[Message]) -> str:
    """The first line of what the user said first, cut to a title's length."""
    said = next((message.content for message in messages if message.role == "user"), "")
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
