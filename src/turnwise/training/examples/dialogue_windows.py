"""What of a dialogue goes into a row: all of it where it fits, else what serving would show before each reply.

A dialogue that is longer than a row is cut as in serving (`chat/context_policies/drop_oldest.py`): system messages
stay, the oldest exchanges go, and every piece begins at a turn. Each reply is learned once. Where a row holds several
replies, only those that have at least half a row of history are learned from it, or all of the dialogue before them;
the others are learned from an earlier piece. A reply whose question leaves it too little space loses its end, and one
whose question alone fills the row is left out; both are counted.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from turnwise.core.exchanges import drop_exchanges, droppable_exchanges
from turnwise.core.messages import Message
from turnwise.core.plurals import pluralize
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.rendering.reply_spans import RenderedReplies, ReplySpan, render_replies, render_reply

if TYPE_CHECKING:
    from turnwise.training.objective import ExampleContext

MIN_HISTORY_SHARE = 0.5  # of a row, before a reply that is learned from a shortened dialogue


@dataclass
class TruncationReport:
    """What did not fit into rows.

    Attributes:
        dialogues: that are longer than a row.
        cut_replies: replies that lost their end.
        left_out_replies: replies that are not learned at all.
        tokens: of replies, that are not learned for it.
        unservable_replies: replies that the template cannot write after the prompt they are served after.
        unread: rows in which a column or key holds text that nothing reads, by its name.
    """

    dialogues: int = 0
    cut_replies: int = 0
    left_out_replies: int = 0
    tokens: int = 0
    unservable_replies: int = 0
    unread: dict[str, int] = field(default_factory=dict)

    def sentences(self, length: int) -> list[str]:
        """What a person should know before the run.

        Args:
            length: of a row, in tokens.
        """
        told = []
        if self.dialogues:
            told.append(
                f"{pluralize(self.dialogues, 'dialogue')} longer than a row of {length:,} tokens: the oldest exchanges "
                "are left out, as in serving"
            )
        if self.tokens:
            parts = [
                f"{pluralize(number, 'reply', 'replies')} {what}"
                for number, what in ((self.cut_replies, "cut at the end"), (self.left_out_replies, "left out"))
                if number
            ]
            told.append(f"{' and '.join(parts)}, {self.tokens:,} tokens: with their question they do not fit a row")
        if self.unservable_replies:
            told.append(
                f"{pluralize(self.unservable_replies, 'reply', 'replies')} left out: the chat template has no way to "
                "write them after the prompt they are served after"
            )
        if self.unread:
            names = ", ".join(self.unread)
            told.append(f"columns with text that nothing reads: {names} (`--columns` says what they mean)")
        return told


def split_dialogue(
    messages: Sequence[Message], wanted: Collection[int], frame: "ExampleContext"
) -> Iterator[RenderedReplies]:
    """Pieces of a dialogue that fit a row and together hold every wanted reply once, after what it is served after.

    Args:
        messages: the dialogue.
        wanted: indices of the assistant's messages that are learned.
        frame: the renderer and the length of a row; what does not fit is counted there.
    """
    left = {index for index in wanted if messages[index].full_text.strip()}
    if not left:
        return
    whole = render_replies(frame.renderer, messages, left)
    if len(whole.ids) <= frame.length:
        if whole.replies:
            yield whole
        left -= {reply.index for reply in whole.replies}
    else:
        frame.truncation.dialogues += 1
    while left:
        last = max(left)
        piece = truncate_dialogue(messages[: last + 1], left, frame)
        left.remove(last)
        if piece is not None:
            left -= {reply.index for reply in piece.replies}
            yield piece


def truncate_dialogue(
    messages: Sequence[Message], wanted: Collection[int], frame: "ExampleContext"
) -> RenderedReplies | None:
    """The last message, a reply, and others that are wanted, after as much of the dialogue as fits a row.

    None where the reply cannot be learned, which is counted.
    """
    last, length = len(messages) - 1, frame.length
    count = count_dropped_exchanges(frame.renderer, messages, length)
    dropped = {place for exchange in droppable_exchanges(messages)[:count] for place in exchange}
    places = [place for place in range(len(messages)) if place not in dropped]
    kept = [messages[place] for place in places]
    piece = render_replies(frame.renderer, kept, [i for i, place in enumerate(places) if place in wanted])
    if last not in (places[reply.index] for reply in piece.replies):
        alone = render_reply(frame.renderer, kept)
        if alone is None:
            frame.truncation.unservable_replies += 1
            return None
        piece = alone
    found = []
    for reply in piece.replies:
        index = places[reply.index]
        if index == last or not count or reply.start >= MIN_HISTORY_SHARE * length:
            found.append(replace(reply, index=index))
    return _cut(RenderedReplies(piece.ids, found), last, frame)


def count_dropped_exchanges(renderer: Renderer, messages: Sequence[Message], length: int, reply: int = 0) -> int:
    """How many of the oldest exchanges go, so that the messages fit into `length` tokens; all, where none is enough.

    Args:
        renderer: lays the messages out.
        messages: the dialogue.
        length: tokens there are.
        reply: tokens to leave for a reply; with 0 the last message is one.
    """
    old = droppable_exchanges(messages)

    def fits(count: int) -> bool:
        rendered = renderer.render(drop_exchanges(messages, old[:count]), add_generation_prompt=reply > 0)
        return len(rendered.ids) + reply <= length

    low, high = 0, len(old)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def _cut(piece: RenderedReplies, last: int, frame: "ExampleContext") -> RenderedReplies | None:
    """The piece as far as it fits a row: the last reply may lose its end, an earlier one is learned elsewhere."""
    length = frame.length
    found: list[ReplySpan] = [reply for reply in piece.replies if reply.end <= length]
    for reply in piece.replies:
        if reply.index == last and reply.end > length:
            is_cut = reply.start < length
            if is_cut:
                found.append(replace(reply, end=length))
            frame.truncation.cut_replies += is_cut
            frame.truncation.left_out_replies += not is_cut
            frame.truncation.tokens += reply.end - max(reply.start, length)
    return RenderedReplies(piece.ids[:length], found) if found else None
