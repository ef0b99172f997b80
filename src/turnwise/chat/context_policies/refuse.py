"""Refuse what does not fit, with the error `context_length_exceeded`: nothing is left out without being asked for."""

from turnwise.chat.context_policies import ContextBudget, Truncated
from turnwise.core.messages import Message


async def truncate(messages: tuple[Message, ...], room: ContextBudget) -> Truncated | None:
    """Leave the messages as they are."""
    del messages, room
    return None
