"""Drops the oldest exchanges, as few as necessary, in steps of an eighth of the context.

If every request dropped one more exchange, every prompt would have a different prefix and the prefix cache would be
useless. With steps, the dropped exchanges stay the same while the conversation grows by one step. The number of dropped
exchanges depends on the messages only, so no state is needed.
"""

import math

from turnwise.chat.context_policies import ContextBudget, Truncated
from turnwise.core.chat_response import ContextReport
from turnwise.core.exchanges import drop_exchanges, droppable_exchanges, find_smallest
from turnwise.core.messages import Message

NAME = "drop_oldest"
STEP = 8  # a step is context_length // STEP tokens


async def truncate(messages: tuple[Message, ...], budget: ContextBudget) -> Truncated | None:
    """The messages without the oldest exchanges. Without all droppable exchanges if even that is not enough."""
    exchanges = droppable_exchanges(messages)
    prompt_tokens, step = await budget.prompt_tokens(messages), max(1, budget.context_length // STEP)

    async def smallest_count(limit: int) -> int:
        async def fits(count: int) -> bool:
            return await budget.prompt_tokens(drop_exchanges(messages, exchanges[:count])) <= limit

        return await find_smallest(len(exchanges), fits)

    steps = max(0, math.ceil((prompt_tokens - budget.max_prompt_tokens) / step))
    count = await smallest_count(min(budget.max_prompt_tokens, prompt_tokens - steps * step))
    if count == len(exchanges):  # a whole step cannot be dropped: drop only what is necessary
        count = await smallest_count(budget.max_prompt_tokens)
    remaining = drop_exchanges(messages, exchanges[:count])
    if len(remaining) == len(messages):
        return None
    return Truncated(remaining, ContextReport(NAME, dropped_messages=len(messages) - len(remaining)))
