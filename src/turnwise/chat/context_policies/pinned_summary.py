"""The note of `pinned`, and a summary by the model in place of the oldest exchanges (`summarise`).

Rules find names and numbers, a summary says what the talk was about. The summary costs a request to the model now and
then; a conversation that fits gets none.
"""

from turnwise.chat.context_policies import ContextBudget, Truncated, pinned, summarise
from turnwise.core.messages import Message

NAME = "pinned_summary"
APPLIES_ALWAYS = True


async def truncate(messages: tuple[Message, ...], budget: ContextBudget) -> Truncated | None:
    """The messages with a note, and with a summary in place of the oldest exchanges if they do not fit."""
    return await pinned.recall(messages, budget, summarise.truncate, NAME)
