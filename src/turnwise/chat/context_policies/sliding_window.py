"""A window that slides over tokens: the first ones and the latest are read, wherever messages begin and end.

A model that reads the latest tokens only falls apart, for its attention rests on the first few when there is nothing to
look at; with those it goes on (*attention sinks*, Xiao et al. 2024). Here the first tokens are at least those of the
system messages that the conversation begins with. What is kept is read anew from its new places, which a cache of
rotated keys could not do, in steps as `drop_oldest` takes them.

Nothing stays for being important; where that matters, `drop_oldest` knows pins. A long message is no trouble here.
"""

import math

from turnwise.chat.context_policies import ContextBudget, Truncated
from turnwise.chat.context_policies.drop_oldest import STEP
from turnwise.core.chat_request import ContextReport
from turnwise.core.messages import Message

NAME = "sliding_window"
SINKS = 4  # tokens; more were of no use to its authors
LEAST = 16  # tokens that are worth being called the latest


async def truncate(messages: tuple[Message, ...], room: ContextBudget) -> Truncated | None:
    """The same messages, of which some tokens in the middle are not read."""
    whole, step = await room.prompt_tokens(messages), max(1, room.context_length // STEP)
    sinks = max(SINKS, await room.system_tokens(messages))
    dropped = math.ceil((whole - room.max_prompt_tokens) / step) * step
    if whole - dropped < sinks + LEAST:  # not by whole steps then
        dropped = whole - room.max_prompt_tokens
    latest = whole - dropped - sinks
    if dropped <= 0 or latest < LEAST:
        return None
    return Truncated(messages, ContextReport(NAME, 0, dropped_tokens=dropped), window=(sinks, latest))
