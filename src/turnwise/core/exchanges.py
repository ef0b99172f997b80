"""The rounds of a conversation: a user's message with all that answers it, tool calls and their results included.

System and developer messages belong to no round. What stands before the first user's message, a greeting say, is a
round of its own.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

from turnwise.core.messages import Message

Exchange = tuple[int, ...]  # the places of its messages
SYSTEM_ROLES = ("system", "developer")


def split_exchanges(messages: Sequence[Message]) -> list[Exchange]:
    """All rounds, oldest first."""
    found: list[list[int]] = []
    for place, message in enumerate(messages):
        if message.role in SYSTEM_ROLES:
            continue
        if message.role == "user" or not found:
            found.append([])
        found[-1].append(place)
    return [tuple(places) for places in found]


def droppable_exchanges(messages: Sequence[Message]) -> list[Exchange]:
    """The rounds that may go, oldest first: all but the last one, and but those with a pinned message."""
    return [places for places in split_exchanges(messages)[:-1] if not any(messages[place].pinned for place in places)]


def drop_exchanges(messages: Sequence[Message], dropped: Collection[Exchange]) -> tuple[Message, ...]:
    """The messages that are in none of these rounds."""
    gone = {place for places in dropped for place in places}
    return tuple(message for place, message in enumerate(messages) if place not in gone)


async def find_smallest(most: int, enough: Callable[[int], Awaitable[bool]]) -> int:
    """The smallest count below `most` that is enough, else `most`; found by halving, since more is never worse."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if await enough(middle):
            high = middle
        else:
            low = middle + 1
    return low
