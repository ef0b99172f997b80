"""What the objectives over preferences share: two ends of one dialogue, and how likely each is."""

from collections.abc import Sequence

import numpy as np

from turnwise.core.exchanges import Exchange, drop_exchanges, droppable_exchanges
from turnwise.core.messages import Message
from turnwise.text.rendering.reply_spans import RenderedReplies, render_replies, render_reply
from turnwise.training.examples.batches import Example
from turnwise.training.objective import ExampleContext


def completion_examples(
    ends: Sequence[tuple[Message, ...]], common: int, frame: ExampleContext, room: int
) -> list[Example] | None:
    """What the assistant says from message `common` on in each of these ends, after the same prompt.

    A dialogue that is longer than `room` loses its oldest exchanges, as in serving, the same ones at every end; a reply
    that is too long loses its end. None where an end has nothing to learn, or the prompt fills the room.
    """
    first = [next((i for i in range(common, len(end)) if end[i].role == "assistant"), None) for end in ends]
    if None in first:
        return None
    asks_again = ends[0][common].role == "user"  # then the question is not part of the prompt
    old = droppable_exchanges(ends[0][: common + 1] if asks_again else ends[0][:common])
    count = max(_fewest(frame, end, old, room) for end in ends)
    if count:
        frame.truncation.dialogues += 1
    found = [
        _ending(drop_exchanges(end, old[:count]), common - sum(map(len, old[:count])), frame, room) for end in ends
    ]
    examples = [example for example in found if example is not None]
    return examples if len(examples) == len(ends) else None


def _fewest(frame: ExampleContext, messages: Sequence[Message], old: Sequence[Exchange], room: int) -> int:
    """How many of the oldest exchanges go, so that the messages fit."""
    low, high = 0, len(old)
    while low < high:
        middle = (low + high) // 2
        fits = len(frame.renderer.render(drop_exchanges(messages, old[:middle])).ids) <= room
        low, high = (low, middle) if fits else (middle + 1, high)
    return low


def _ending(messages: Sequence[Message], common: int, frame: ExampleContext, room: int) -> Example | None:
    """The assistant's messages from `common` on, as far as they stand after the prompts they are served after."""
    last = max(i for i, message in enumerate(messages) if message.role == "assistant")
    messages = messages[: last + 1]
    wanted = [i for i in range(common, len(messages)) if messages[i].role == "assistant" and messages[i].full_text]
    piece: RenderedReplies | None = render_replies(frame.renderer, messages, wanted)
    if piece is None or last not in (reply.index for reply in piece.replies):
        piece = render_reply(frame.renderer, messages)
    if piece is None:
        frame.truncation.unservable_replies += 1
        return None
    mask = [False] * len(piece.ids)
    for reply in piece.replies:
        mask[reply.start : reply.end] = [True] * (reply.end - reply.start)
    lost = sum(mask[room:])
    frame.truncation.tokens += lost
    example = Example.causal(piece.ids[:room], mask[:room])
    kept = bool(example.counted.any())
    frame.truncation.cut_replies += bool(lost) and kept
    frame.truncation.left_out_replies += bool(lost) and not kept
    return example if kept else None


def common_prefix_length(one: tuple[Message, ...], other: tuple[Message, ...]) -> int:
    """How many messages both begin with."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def concatenate_segments(parts: list[Example]) -> Example:
    """One example of several sequences that do not see each other."""
    return Example(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.targets for part in parts]),
        parts=tuple(part.size for part in parts),
    )
