"""Which tokens count where a dialogue is scored: the same ones for all that are to be compared."""

from dataclasses import dataclass

from turnwise.evaluation.items import Score
from turnwise.text.render import Renderer


@dataclass(frozen=True, slots=True)
class Counted:
    """What is to be read.

    Attributes:
        ids: of the dialogue, up to the last that counts.
        places: in `ids`, of those that count.
        bytes: of the text that they spell, UTF-8.
    """

    ids: tuple[int, ...]
    places: tuple[int, ...]
    bytes: int


def counted(renderer: Renderer, score: Score, limit: int) -> Counted:
    """What counts in a dialogue, of which at most `limit` tokens are read."""
    rendered = renderer.render(score.messages)
    ids, mask = rendered.ids, rendered.loss_mask
    if score.whole:  # a reply that is cut off does not count, nor do those after it
        size, end = 0, len(ids)
        for message, span in zip(score.messages, rendered.spans, strict=True):
            if span is None or message.role != "assistant":
                continue
            if span[1] > limit:
                end = span[0]
                break
            size += len(message.content.encode())
        start, first, end = 0, 1, min(end, limit)
    else:  # what does not fit is cut from the front: the reply and what it answers stand at the end
        span = rendered.spans[-1]
        start, end, size = max(0, len(ids) - limit), len(ids), len(score.messages[-1].content.encode())
        first = max(start + 1, span[0] if span is not None else end)
    places = tuple(at - start for at in range(first, end) if mask[at])
    return Counted(tuple(ids[start : (start + places[-1] + 1) if places else end][:limit]), places, size)
