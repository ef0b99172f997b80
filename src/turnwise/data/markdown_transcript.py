"""Writes a conversation as Markdown, for reading."""

from datetime import UTC, datetime

from turnwise.core.stored_conversations import StoredConversation

_SPEAKERS = {"user": "User", "assistant": "Assistant", "tool": "Tool"}


def write_transcript(conversation: StoredConversation) -> str:
    """The displayed branch of a conversation. Texts stay as they were written; they may be Markdown themselves."""
    created = datetime.fromtimestamp(conversation.created, UTC)
    title = " ".join(conversation.title.split()) or "Conversation"
    sections = [f"# {title}", f"*{conversation.model}, {created:%Y-%m-%d %H:%M} UTC*"]
    for stored in conversation.messages:
        message = stored.message
        model = stored.meta.get("model")
        speaker = message.name or _SPEAKERS.get(message.role, "Instructions")
        is_named = message.role == "assistant" and isinstance(model, str) and model != conversation.model
        sections.append(f"## {speaker} ({model})" if is_named else f"## {speaker}")
        sections += [text for text in (message.content.strip("\n"),) if text]
        sections += [f"`{call.name}({call.arguments})`" for call in message.tool_calls]
    return "\n\n".join(sections) + "\n\n"
