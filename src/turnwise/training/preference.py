"""What the objectives over preferences share: two ends of one dialogue, and how likely each is."""

import numpy as np

from turnwise.core.messages import Message
from turnwise.data.batches import Example
from turnwise.training.objective import Frame


def ending(messages: tuple[Message, ...], common: int, frame: Frame, room: int) -> Example | None:
    """What the assistant says from message `common` on, given all before; None where that is nothing.

    A dialogue that is longer than `room` loses its beginning, or, where its end alone is, the end of that.
    """
    rendered = frame.renderer.render(messages)
    spans = [span for message, span in zip(messages[common:], rendered.spans[common:], strict=True) if span]
    start = spans[0][0] if spans else len(rendered.ids)
    mask = [False] * start + rendered.loss_mask[start:]
    first = next((at for at, counts in enumerate(mask) if counts), None)
    if first is None:
        return None
    cut = max(0, min(len(mask) - room, first - 1))
    ids, mask = rendered.ids[cut : cut + room], mask[cut : cut + room]
    found = Example.causal(ids, mask)
    return found if found.counted.any() else None


def common_beginning(one: tuple[Message, ...], other: tuple[Message, ...]) -> int:
    """How many messages both begin with."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def joined(parts: list[Example]) -> Example:
    """One example of several sequences that do not see each other."""
    return Example(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.targets for part in parts]),
        parts=tuple(part.size for part in parts),
    )
