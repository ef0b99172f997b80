"""Stored conversations in the terminal: a numbered list, lookup by number, id or text, and export to a file."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from turnwise.core.errors import NotFound, UserError
from turnwise.core.feedback import AnswerReference
from turnwise.core.files import atomic_write, path_exists
from turnwise.core.messages import Message
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


def find_last_answer(store: ConversationStore) -> AnswerReference:
    """The last answer of the conversation that was updated last. Raises `NotFound`."""
    conversation = find_conversation(store, LAST_CONVERSATION)
    return last_answer(conversation)


def last_answer(conversation: StoredConversation) -> AnswerReference:
    """The last generated answer of the current branch. Raises `NotFound`."""
    for stored in reversed(conversation.messages):
        if stored.message.role == "assistant" and "finish" in stored.meta:
            return AnswerReference("message", stored.id)
    raise NotFound("The conversation has no answer yet.")


def save_conversation(messages: Sequence[Message], argument: str) -> Path:
    """Write messages to a JSONL file and return its path.

    Args:
        messages: messages of the conversation.
        argument: path of the file, optionally followed by `--overwrite`.

    Raises `UserError` if the file exists and `--overwrite` is missing, or if it cannot be written.
    """
    name = argument.removesuffix("--overwrite").strip()
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:  # "~name" of an unknown user
        raise UserError(f"Could not save to {name}: there is no user of that name.") from error
    if path_exists(path) and name == argument:
        raise UserError(f"Could not save to {path}: the file exists. To replace it: /save {name} --overwrite")
    if not path.parent.is_dir():
        raise UserError(f"Could not save to {path}: there is no folder {path.parent}. Create it first.")
    atomic_write(path, json.dumps({"messages": [m.as_dict() for m in messages]}, ensure_ascii=False) + "\n")
    return path
