"""Drops the oldest exchanges, as few as necessary, in steps of an eighth of the context.

If every request dropped one more exchange, every prompt would have a different prefix and the prefix cache would be
useless. With steps, the dropped exchanges stay the same while the conversation grows by one step. The number of dropped
exchanges depends on the messages only, so no state is needed.
"""

import math
from collections.abc import Sequence

from turnwise.chat.context_policies import ContextBudget, Truncated
from turnwise.core.chat_response import ContextReport
from turnwise.core.exchanges import Exchange, drop_exchanges, droppable_exchanges, find_smallest
from turnwise.core.messages import Message

NAME = "drop_oldest"
STEP = 8  # a step is context_length // STEP tokens


async def truncate(messages: tuple[Message, ...], budget: ContextBudget) -> Truncated | None:
    """The messages without the oldest exchanges. Without all droppable exchanges if even that is not enough."""
    exchanges = droppable_exchanges(messages)
    count = await count_dropped(messages, exchanges, budget)
    remaining = drop_exchanges(messages, exchanges[:count])
    if len(remaining) == len(messages):
        return None
    return Truncated(remaining, ContextReport(NAME, dropped_messages=len(messages) - len(remaining)))


async def count_dropped(
    messages: tuple[Message, ...], exchanges: Sequence[Exchange], budget: ContextBudget, *, reserve: int = 0
) -> int:
    """Number of oldest exchanges to drop; all if even that is not enough.

    Args:
        messages: the conversation.
        exchanges: exchanges that may be dropped, oldest first.
        budget: the context budget.
        reserve: tokens to leave for what is added to the messages.
    """
    prompt_tokens, step = await budget.prompt_tokens(messages), max(1, budget.context_length // STEP)
    max_tokens = budget.max_prompt_tokens - reserve

    async def smallest_count(limit: int) -> int:
        async def fits(count: int) -> bool:
            return await budget.prompt_tokens(drop_exchanges(messages, exchanges[:count])) <= limit

        return await find_smallest(len(exchanges), fits)

    steps = max(0, math.ceil((prompt_tokens - max_tokens) / step))
    count = await smallest_count(min(max_tokens, prompt_tokens - steps * step))
    if count == len(exchanges):  # a whole step cannot be dropped: drop only what is necessary
        count = await smallest_count(max_tokens)
    return count
