"""Examples for preference objectives: completions of one dialogue after the same prompt."""

from collections.abc import Sequence

import numpy as np

from turnwise.core.exchanges import Exchange, drop_exchanges, droppable_exchanges
from turnwise.core.messages import Message
from turnwise.text.rendering.reply_spans import RenderedReplies, render_replies, render_reply
from turnwise.training.examples.example import Example
from turnwise.training.objective import ExampleContext


def completion_examples(
    conversations: Sequence[tuple[Message, ...]], common: int, context: ExampleContext, max_tokens: int
) -> list[Example] | None:
    """Build one example per conversation, trained on the assistant messages after the common prefix.

    A dialogue longer than `max_tokens` loses its oldest exchanges, as in serving, and the same ones in every
    conversation. A reply that is too long loses its end.

    Args:
        conversations: conversations with a common prefix.
        common: number of common messages.
        context: renderer and truncation counts.
        max_tokens: maximum tokens per example.

    Returns:
        The examples; None if one of the conversations has no target or its prompt fills `max_tokens`.
    """
    if not all(any(message.role == "assistant" for message in messages[common:]) for messages in conversations):
        return None
    first = conversations[0]
    # A user message right after the prefix differs between the conversations, so its exchange must stay.
    starts_with_user = first[common].role == "user"
    exchanges = droppable_exchanges(first[: common + 1] if starts_with_user else first[:common])
    count = max(_num_exchanges_to_drop(context, messages, exchanges, max_tokens) for messages in conversations)
    if count:
        context.truncation.dialogues += 1
    start = common - sum(map(len, exchanges[:count]))
    examples = []
    for messages in conversations:
        example = _completion_example(drop_exchanges(messages, exchanges[:count]), start, context, max_tokens)
        if example is not None:
            examples.append(example)
    return examples if len(examples) == len(conversations) else None


def _num_exchanges_to_drop(
    context: ExampleContext, messages: Sequence[Message], exchanges: Sequence[Exchange], max_tokens: int
) -> int:
    """Smallest number of oldest exchanges to drop so that the messages fit; all of them if none is enough."""
    low, high = 0, len(exchanges)
    while low < high:
        middle = (low + high) // 2
        rendered = context.renderer.render(drop_exchanges(messages, exchanges[:middle]))
        low, high = (low, middle) if len(rendered.ids) <= max_tokens else (middle + 1, high)
    return low


def _completion_example(
    messages: Sequence[Message], start: int, context: ExampleContext, max_tokens: int
) -> Example | None:
    """Build an example trained on the assistant messages from index `start`; None if no target is left."""
    last = max(i for i, message in enumerate(messages) if message.role == "assistant")
    messages = messages[: last + 1]
    targets = [i for i in range(start, len(messages)) if messages[i].role == "assistant" and messages[i].full_text]
    rendered: RenderedReplies | None = render_replies(context.renderer, messages, targets)
    if rendered is None or last not in (reply.index for reply in rendered.replies):
        rendered = render_reply(context.renderer, messages)
    if rendered is None:
        context.truncation.unservable_replies += 1
        return None
    mask = [False] * len(rendered.ids)
    for reply in rendered.replies:
        mask[reply.start : reply.end] = [True] * (reply.end - reply.start)
    num_lost = sum(mask[max_tokens:])
    context.truncation.tokens += num_lost
    example = Example.causal(rendered.ids[:max_tokens], mask[:max_tokens])
    has_targets = bool(example.target_mask.any())
    context.truncation.cut_replies += bool(num_lost) and has_targets
    context.truncation.left_out_replies += bool(num_lost) and not has_targets
    return example if has_targets else None


def common_prefix_length(first: tuple[Message, ...], second: tuple[Message, ...]) -> int:
    """Number of messages with which both conversations start."""
    count = 0
    while count < min(len(first), len(second)) and first[count] == second[count]:
        count += 1
    return count


def concatenate_segments(examples: list[Example]) -> Example:
    """Join examples into one example of several segments, which do not attend to each other."""
    return Example(
        np.concatenate([example.ids for example in examples]),
        np.concatenate([example.targets for example in examples]),
        segment_lengths=tuple(example.size for example in examples),
    )
