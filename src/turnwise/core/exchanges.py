"""Exchanges of a conversation: a user message and everything that answers it, including tool calls and results.

System and developer messages belong to no exchange. Messages before the first user message, for example a greeting,
form an exchange of their own.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

from turnwise.core.messages import Conversation, Message

Exchange = tuple[int, ...]  # indices of its messages
SYSTEM_ROLES = ("system", "developer")


def split_exchanges(messages: Sequence[Message]) -> list[Exchange]:
    """All exchanges, oldest first."""
    exchanges: list[list[int]] = []
    for index, message in enumerate(messages):
        if message.role in SYSTEM_ROLES:
            continue
        if message.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(index)
    return [tuple(indices) for indices in exchanges]


def droppable_exchanges(messages: Sequence[Message]) -> list[Exchange]:
    """Exchanges that may be dropped, oldest first: all except the last one and those with a pinned message."""
    return [
        exchange for exchange in split_exchanges(messages)[:-1] if not any(messages[index].pinned for index in exchange)
    ]


def last_reply(conversation: Conversation) -> tuple[tuple[Message, ...], str] | None:
    """Return the history before the last reply, and the text of that reply. None if there is no reply.

    The last reply is the last assistant message that has text and follows a user message. Tool calls and results may
    stand between the two; they belong to the history. A greeting before the first user message is not a reply.
    """
    messages = conversation.messages
    first_user = next((index for index, message in enumerate(messages) if message.role == "user"), len(messages))
    for index in reversed(range(first_user + 1, len(messages))):
        if messages[index].role == "assistant" and messages[index].content.strip():
            return messages[:index], messages[index].content
    return None


def drop_exchanges(messages: Sequence[Message], exchanges: Collection[Exchange]) -> tuple[Message, ...]:
    """The messages without those of `exchanges`."""
    dropped = {index for exchange in exchanges for index in exchange}
    return tuple(message for index, message in enumerate(messages) if index not in dropped)


async def find_smallest(limit: int, is_enough: Callable[[int], Awaitable[bool]]) -> int:
    """The smallest count below `limit` for which `is_enough` holds, else `limit`. Binary search.

    `is_enough` must be monotonic: if it holds for a count, it holds for every larger one.
    """
    low, high = 0, limit
    while low < high:
        middle = (low + high) // 2
        if await is_enough(middle):
            high = middle
        else:
            low = middle + 1
    return low
