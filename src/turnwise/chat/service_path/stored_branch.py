"""Brings the messages of a request together with the stored ones, which a person and the service have added to.

A client may not know the messages of a person. Without this, its next request would become a branch of its own, and the
model would not know what the person said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.core.handoff_notices import is_notice
from turnwise.core.handoffs import NOTICE_META
from turnwise.core.messages import Message
from turnwise.core.stored_messages import StoredMessage

_HANDOFF_META = "handoff"  # messages of a hand-off: notices, and those of the person and of the customer


@dataclass(frozen=True, slots=True)
class MergedBranch:
    """Messages of a request and of its stored conversation.

    Attributes:
        stored: the messages to store: the stored branch and the new ones.
        visible: those that the model may see.
        new: messages of the request that are not stored.
    """

    stored: tuple[Message, ...]
    visible: tuple[Message, ...]
    new: tuple[Message, ...]


def merge_branch(branch: Sequence[StoredMessage], messages: Sequence[Message], notices: Sequence[str]) -> MergedBranch:
    """Insert the messages of hand-offs that the request lacks.

    A request that is not the stored branch with new messages, such as an edit, stays as it is.

    Args:
        branch: the stored branch.
        messages: messages of the request.
        notices: further sentences that the model must not see.
    """
    messages = [message for message in messages if not _is_silence(message)]
    position, merged, hidden = 0, list[Message](), list[bool]()
    for entry in branch:
        is_same = position < len(messages) and messages[position] == entry.message
        if not is_same and _HANDOFF_META not in entry.meta:
            return _unmerged(messages, notices)
        position += is_same
        merged.append(entry.message)
        hidden.append(NOTICE_META in entry.meta)
    new = tuple(messages[position:])
    if not new:
        return MergedBranch(tuple(messages), without_notices(messages, notices), ())  # it repeats an earlier request
    stored = (*merged, *new)
    flags = (*hidden, *(False for _ in new))
    visible = tuple(m for m, is_hidden in zip(stored, flags, strict=True) if not is_hidden)
    return MergedBranch(stored, without_notices(visible, notices), new)


def without_notices(messages: Sequence[Message], notices: Sequence[str]) -> tuple[Message, ...]:
    """Messages without the sentences about hand-offs, whoever sends them back."""
    return tuple(m for m in messages if m.role != "assistant" or m.tool_calls or not is_notice(m.content, notices))


def _is_silence(message: Message) -> bool:
    """True for the empty answer that a client gets while a person speaks, and may send back."""
    return message.role == "assistant" and not message.content and not message.tool_calls


def _unmerged(messages: Sequence[Message], notices: Sequence[str]) -> MergedBranch:
    last_assistant = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    return MergedBranch(tuple(messages), without_notices(messages, notices), tuple(messages[last_assistant + 1 :]))
