"""Windows of a dialogue that fit the sequence length, and counts of what is truncated.

A dialogue longer than the sequence length is truncated as in serving (`chat/context_policies/drop_oldest.py`): system
messages stay, the oldest exchanges are dropped, and every window starts at a turn. Each reply is trained on exactly
once. In a truncated window only replies with at least half a window of history are targets; earlier replies are targets
of an earlier window. A reply too long for the tokens left after its prompt loses its end; a reply whose prompt alone
fills the window is left out. Both are counted in `TruncationReport`.
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

MIN_HISTORY_SHARE = 0.5  # of the window, before a target reply of a truncated dialogue


@dataclass
class TruncationReport:
    """Counts of what does not fit the sequence length or cannot be used.

    Attributes:
        dialogues: dialogues longer than the sequence length.
        cut_replies: replies that lost their end.
        left_out_replies: replies without any target.
        tokens: reply tokens lost by cutting or leaving out.
        unservable_replies: replies that the chat template cannot render after their serving prompt.
        unread: number of rows by name of a column or key with text that no parser uses.
    """

    dialogues: int = 0
    cut_replies: int = 0
    left_out_replies: int = 0
    tokens: int = 0
    unservable_replies: int = 0
    unread: dict[str, int] = field(default_factory=dict)

    def sentences(self, length: int) -> list[str]:
        """Describe the counts for users.

        Args:
            length: sequence length in tokens.
        """
        sentences = []
        if self.dialogues:
            sentences.append(
                f"{pluralize(self.dialogues, 'dialogue')} longer than {length:,} tokens: the oldest exchanges "
                "are dropped, as in serving"
            )
        if self.tokens:
            counts = ((self.cut_replies, "cut at the end"), (self.left_out_replies, "left out"))
            replies = [f"{pluralize(count, 'reply', 'replies')} {action}" for count, action in counts if count]
            sentences.append(f"{' and '.join(replies)}, {self.tokens:,} tokens: they do not fit after their prompt")
        if self.unservable_replies:
            sentences.append(
                f"{pluralize(self.unservable_replies, 'reply', 'replies')} left out: the chat template cannot render "
                "them after their serving prompt"
            )
        if self.unread:
            sentences.append(
                f"columns with text that is not used: {', '.join(self.unread)} (set their meaning with `--columns`)"
            )
        return sentences


def split_dialogue(
    messages: Sequence[Message], targets: Collection[int], context: "ExampleContext"
) -> Iterator[RenderedReplies]:
    """Yield windows of a dialogue that together contain every target reply once, each after its serving prompt.

    Args:
        messages: the dialogue.
        targets: indices of the assistant messages to train on.
        context: renderer, sequence length and truncation counts.
    """
    remaining = {index for index in targets if messages[index].full_text.strip()}
    if not remaining:
        return
    rendered = render_replies(context.renderer, messages, remaining)
    if len(rendered.ids) <= context.length:
        if rendered.replies:
            yield rendered
        remaining -= {reply.index for reply in rendered.replies}
    else:
        context.truncation.dialogues += 1
    # From the last reply back: each window ends with a reply and covers the earlier ones that have enough history.
    while remaining:
        last = max(remaining)
        window = truncate_dialogue(messages[: last + 1], remaining, context)
        remaining.remove(last)
        if window is not None:
            remaining -= {reply.index for reply in window.replies}
            yield window


def truncate_dialogue(
    messages: Sequence[Message], targets: Collection[int], context: "ExampleContext"
) -> RenderedReplies | None:
    """Render the last message, a reply, after as much history as fits, with other target replies in the history.

    Returns None, and counts it, if the reply cannot be trained on.
    """
    last, length = len(messages) - 1, context.length
    count = count_dropped_exchanges(context.renderer, messages, length)
    dropped = {index for exchange in droppable_exchanges(messages)[:count] for index in exchange}
    indices = [index for index in range(len(messages)) if index not in dropped]
    remaining = [messages[index] for index in indices]
    rendered = render_replies(context.renderer, remaining, [i for i, index in enumerate(indices) if index in targets])
    if last not in (indices[reply.index] for reply in rendered.replies):
        # The template renders this reply's prompt differently inside a dialogue: render the reply on its own.
        single = render_reply(context.renderer, remaining)
        if single is None:
            context.truncation.unservable_replies += 1
            return None
        rendered = single
    replies = []
    for reply in rendered.replies:
        index = indices[reply.index]
        if index == last or not count or reply.start >= MIN_HISTORY_SHARE * length:
            replies.append(replace(reply, index=index))
    return _cut(RenderedReplies(rendered.ids, replies), last, context)


def count_dropped_exchanges(renderer: Renderer, messages: Sequence[Message], length: int, reply: int = 0) -> int:
    """Return the smallest number of oldest exchanges to drop so that the messages fit; all if none is enough.

    Args:
        renderer: renders the messages.
        messages: the dialogue.
        length: sequence length in tokens.
        reply: tokens to reserve for a reply; 0 if the last message is the reply.
    """
    exchanges = droppable_exchanges(messages)

    def fits(count: int) -> bool:
        rendered = renderer.render(drop_exchanges(messages, exchanges[:count]), add_generation_prompt=reply > 0)
        return len(rendered.ids) + reply <= length

    low, high = 0, len(exchanges)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def _cut(rendered: RenderedReplies, last: int, context: "ExampleContext") -> RenderedReplies | None:
    """Cut to the sequence length: the last reply may lose its end, an earlier one belongs to another window."""
    length = context.length
    replies: list[ReplySpan] = [reply for reply in rendered.replies if reply.end <= length]
    for reply in rendered.replies:
        if reply.index == last and reply.end > length:
            is_cut = reply.start < length
            if is_cut:
                replies.append(replace(reply, end=length, is_cut=True))
            context.truncation.cut_replies += is_cut
            context.truncation.left_out_replies += not is_cut
            context.truncation.tokens += reply.end - max(reply.start, length)
    return RenderedReplies(rendered.ids[:length], replies) if replies else None
