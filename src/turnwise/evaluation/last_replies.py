"""The last reply of each dialogue: what is asked again of whatever is evaluated, and compared with what was said."""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

from turnwise.core.exchanges import last_reply
from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.samples import GenerationQuery, Sample

T = TypeVar("T")


def subsample(found: Sequence[T], most: int, seed: int) -> list[T]:
    """At most so many of them, drawn and in their order: files are often sorted, and their beginning is not all."""
    if len(found) <= most:
        return list(found)
    return [found[at] for at in sorted(random.Random(seed).sample(range(len(found)), most))]


def dialogue_id(messages: Sequence[Message]) -> str:
    """A name for a dialogue by what is said in it: the same words twice are one dialogue, and tell nothing twice."""
    said = repr([(message.role, message.content) for message in messages])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def reply_samples(dialogues: Sequence[Conversation]) -> list[Sample]:
    """An item for the last reply of every dialogue that has one."""
    return [
        Sample(
            dialogue_id(parts[0]),
            (GenerationQuery(parts[0], tools=dialogue.tools),),
            reference=parts[1],
            about=dialogue.meta,
        )
        for dialogue in dialogues
        if (parts := last_reply(dialogue)) is not None
    ]
