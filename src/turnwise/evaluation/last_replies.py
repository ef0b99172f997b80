"""Samples for metrics that compare a generated reply with the dialogue's last reply."""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.samples import GenerationQuery, Sample

T = TypeVar("T")


def last_reply_samples(dialogues: Sequence[Conversation]) -> list[Sample]:
    """Return one sample per dialogue that has a reply: generate the last reply again from the messages before it."""
    return [
        Sample(
            dialogue_id(history),
            (GenerationQuery(history, tools=dialogue.tools),),
            reference=reply,
            metadata=dialogue.meta,
        )
        for dialogue in dialogues
        if (history_and_reply := last_reply(dialogue)) is not None
        for history, reply in (history_and_reply,)
    ]


def dialogue_id(messages: Sequence[Message]) -> str:
    """Hash roles and contents. Dialogues with equal contents get one id, so they are resampled as one group."""
    contents = repr([(message.role, message.content) for message in messages])
    return hashlib.sha256(contents.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def subsample(items: Sequence[T], max_items: int, seed: int) -> list[T]:
    """Draw at most `max_items` items and keep their order.

    A random sample represents the data better than its first items, because files are often sorted.
    """
    if len(items) <= max_items:
        return list(items)
    return [items[index] for index in sorted(random.Random(seed).sample(range(len(items)), max_items))]
