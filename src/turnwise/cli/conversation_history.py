"""Stored conversations in the terminal: a numbered list, and lookup by number, id or text."""

import time

from turnwise.core.errors import NotFound
from turnwise.core.stored_conversations import ConversationStore, StoredConversation

LAST_CONVERSATION = "last"
MAX_LISTED = 20


def list_conversations(store: ConversationStore) -> list[str]:
    """One line per conversation, latest first, with the number that `find_conversation` accepts."""
    return [
        f"{number:>3}  {time.strftime('%Y-%m-%d %H:%M', time.localtime(entry.updated))}  {entry.title or '(no title)'}"
        for number, entry in enumerate(store.list(limit=MAX_LISTED), start=1)
    ]


def find_conversation(store: ConversationStore, reference: str) -> StoredConversation:
    """Look up a stored conversation.

    Args:
        store: conversation store.
        reference: `last`, a number in `list_conversations`, an id, or a text in the title or messages; with several
            matches, the latest conversation is returned.

    Raises `NotFound`.
    """
    listed = store.list(limit=MAX_LISTED)
    if not listed:
        raise NotFound("There is no stored conversation.")
    if reference == LAST_CONVERSATION:
        return store.get(listed[0].id)
    if reference.isdecimal() and 1 <= int(reference) <= len(listed):
        return store.get(listed[int(reference) - 1].id)
    if reference.startswith("conv_"):
        return store.get(reference)
    matching = store.list(limit=1, query=reference)
    if not matching:
        raise NotFound(f"No conversation contains '{reference[:60]}'. `/list` shows the latest ones.")
    return store.get(matching[0].id)
