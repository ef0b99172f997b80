"""A conversation as token ids, with its assistant mask and the span of every message."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RenderedConversation:
    """A conversation as the model sees it.

    Attributes:
        ids: token ids.
        assistant_mask: for each id, True if the assistant generates it: contents with the tokens that end turns.
        spans: for each message, the ids `[start, end)` of its content; None if the template omits the content.
        text: output of the template.
        offsets: for each id, the characters `[start, end)` of `text` that it encodes.
    """

    ids: list[int]
    assistant_mask: list[bool]
    spans: list[tuple[int, int] | None]
    text: str = ""
    offsets: Sequence[tuple[int, int]] = field(default=(), compare=False)  # determined by ids and text
