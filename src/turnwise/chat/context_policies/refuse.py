"""Rejects conversations that exceed the context, with the error code `context_length_exceeded`."""

from turnwise.chat.context_policies import ContextBudget, Truncated
from turnwise.core.messages import Message


async def truncate(messages: tuple[Message, ...], budget: ContextBudget) -> Truncated | None:
    """Change nothing."""
    del messages, budget
    return None
