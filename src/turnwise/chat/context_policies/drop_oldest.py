"""Drop the oldest rounds, as few as make room for the answer, in steps.

If every turn dropped one more round, every prompt would begin differently, and the engine could use nothing of what it
read before. So tokens are dropped in steps of an eighth of the context: while a chat grows by that much, the same
rounds stay dropped. How many those are depends on the messages alone, so nothing need be remembered.
"""

import math

from turnwise.chat.context_policies import ContextBudget, Truncated
from turnwise.core.chat_request import ContextReport
from turnwise.core.exchanges import drop_exchanges, droppable_exchanges, find_smallest
from turnwise.core.messages import Message

NAME = "drop_oldest"
STEP = 8  # this part of the context is dropped at a time


async def truncate(messages: tuple[Message, ...], room: ContextBudget) -> Truncated | None:
    """The messages without the oldest rounds; without all that may go where even that makes too little room."""
    old = droppable_exchanges(messages)
    whole, step = await room.prompt_tokens(messages), max(1, room.context_length // STEP)

    async def fewest_within(limit: int) -> int:
        async def enough(count: int) -> bool:
            return await room.prompt_tokens(drop_exchanges(messages, old[:count])) <= limit

        return await find_smallest(len(old), enough)

    steps = max(0, math.ceil((whole - room.max_prompt_tokens) / step))
    count = await fewest_within(min(room.max_prompt_tokens, whole - steps * step))
    if count == len(old):  # there is not that much to drop, so no more than has to be
        count = await fewest_within(room.max_prompt_tokens)
    kept = drop_exchanges(messages, old[:count])
    if len(kept) == len(messages):
        return None
    return Truncated(kept, ContextReport(NAME, dropped_messages=len(messages) - len(kept)))
