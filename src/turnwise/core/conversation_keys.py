"""What identifies a conversation: the id of a stored one, else who opened it and with which words.

A client that sends the history with every request names no conversation. Its API key, its user and the first user
message are the same in all requests of one.
"""

from collections.abc import Sequence

from turnwise.core.messages import Message


def stored_conversation_key(id: str) -> str:
    """The key of a stored conversation."""
    return f"id\n{id}"


def opening_key(owner: str | None, user: str | None, messages: Sequence[Message], prompt: str | None = None) -> str:
    """The key of a conversation that is not stored.

    Args:
        owner: name of the API key; None: no key was needed.
        user: the person within the API key, as the client names them.
        messages: messages of a request.
        prompt: the text that is continued instead of messages; None: there is none.
    """
    first = next((message.content for message in messages if message.role == "user"), "")
    # Lengths keep the fields apart: a user named "a\nb" is not the user "a" whose message starts with "b".
    fields = (owner or "", user or "", first if prompt is None else prompt)
    return "".join(f"{len(field)}\n{field}" for field in fields)
