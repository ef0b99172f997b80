"""Drop the oldest rounds, as few as make room for the answer."""

from turnwise.chat.context import Room, Shortened
from turnwise.chat.rounds import droppable, fewest, without
from turnwise.chat.turn import ContextReport
from turnwise.core.messages import Message

NAME = "drop_oldest"


async def shorten(messages: tuple[Message, ...], room: Room) -> Shortened | None:
    """The messages without the fewest oldest rounds; without all that may go where even that makes too little room."""
    old = droppable(messages)

    async def enough(count: int) -> bool:
        return await room.tokens(without(messages, old[:count])) <= room.limit

    kept = without(messages, old[: await fewest(len(old), enough)])
    if len(kept) == len(messages):
        return None
    return Shortened(kept, ContextReport(NAME, dropped_messages=len(messages) - len(kept)))
