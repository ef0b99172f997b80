"""Stored messages of conversations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnwise.core.messages import Message

GENERATION_KEY = "generation"  # in `meta`


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A stored message.

    Attributes:
        id: id, unique over all conversations.
        created: Unix time of storage, in seconds.
        message: the message.
        meta: plain JSON. Response: its `model` and `finish` reason ("in_progress" during generation and after a
            crash); `mean_logprob`; if the model has versions, the `version` that answered, such as
            "turnwise-assistant@3", the digest of its `weights`, and `routed` if it is false, because the request named
            the version; `generation`, the id that the server gave an answer in the background. Request that failed:
            its `error`. Both: `consent` and `user` of the request. An answer that the person changed: `edited`.
        parent_id: id of the previous message; None for a first message.
        sibling_ids: ids of all messages with the same parent, including this one, oldest first. Set by
            `ConversationStore.get`.
    """

    id: str
    created: float
    message: Message
    meta: Mapping[str, Any]
    parent_id: str | None = None
    sibling_ids: tuple[str, ...] = ()
