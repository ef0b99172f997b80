"""The last reply of each dialogue: what is asked again of whatever is evaluated, and compared with what was said."""

from collections.abc import Sequence

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.items import Ask, Item


def last_reply(dialogue: Conversation) -> tuple[tuple[Message, ...], str] | None:
    """What was said before the last answer to a user, and that answer; None where there is none."""
    messages = dialogue.messages
    for at in reversed(range(1, len(messages))):
        if messages[at].role == "assistant" and messages[at].content.strip():
            return messages[:at], messages[at].content
    return None


def reply_items(dialogues: Sequence[Conversation]) -> list[Item]:
    """An item for the last reply of every dialogue that has one."""
    found = []
    for number, dialogue in enumerate(dialogues):
        if (parts := last_reply(dialogue)) is not None:
            history, reply = parts
            found.append(Item(f"dialogue {number}", (Ask(history),), reference=reply, about=dialogue.meta))
    return found
