"""Earlier conversations in the terminal: a list of them, and one of them by number, id or title."""

import time

from turnwise.core.errors import NotFound
from turnwise.core.stored_conversations import ConversationStore, StoredConversation

LAST_CONVERSATION = "last"
MAX_LISTED = 20


def list_conversations(store: ConversationStore) -> list[str]:
    """One line for each of the latest conversations, with the number that `find_conversation` takes."""
    return [
        f"{number:>3}  {time.strftime('%Y-%m-%d %H:%M', time.localtime(entry.updated))}  {entry.title or '(no title)'}"
        for number, entry in enumerate(store.list(limit=MAX_LISTED), start=1)
    ]


def find_conversation(store: ConversationStore, reference: str) -> StoredConversation:
    """The conversation with this number in the list, this id, or else the latest whose title or messages contain it.

    Raises `NotFound`.
    """
    listed = store.list(limit=MAX_LISTED)
    if not listed:
        raise NotFound("There is no earlier conversation.")
    if reference == LAST_CONVERSATION:
        return store.get(listed[0].id)
    if reference.isdecimal() and 1 <= int(reference) <= len(listed):
        return store.get(listed[int(reference) - 1].id)
    if reference.startswith("conv_"):
        return store.get(reference)
    matching = store.list(limit=1, query=reference)
    if not matching:
        raise NotFound(f"There is no conversation with '{reference[:60]}' in it. `/list` shows the latest ones.")
    return store.get(matching[0].id)
