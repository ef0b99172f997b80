"""Stored conversations and messages."""

from typing import Any, Literal

from pydantic import BaseModel

from turnwise.core.stored_conversations import StoredConversation
from turnwise.core.stored_messages import StoredMessage
from turnwise.server.schema.response_tool_calls import ToolCallBody


class MessageBody(BaseModel):
    """A stored message. `sibling_ids` are all messages with the same parent, itself included, oldest first."""

    id: str
    object: Literal["conversation.message"] = "conversation.message"
    created: float
    parent_id: str | None
    sibling_ids: list[str]
    role: str
    content: str
    name: str | None
    tool_calls: list[ToolCallBody] | None = None
    tool_call_id: str | None = None
    pinned: bool
    meta: dict[str, Any]

    @classmethod
    def of(cls, stored: StoredMessage) -> "MessageBody":
        """Convert a message of the store."""
        message = stored.message
        return cls(
            id=stored.id, created=stored.created, parent_id=stored.parent_id, sibling_ids=list(stored.sibling_ids),
            role=message.role, content=message.content, name=message.name, tool_call_id=message.tool_call_id,
            tool_calls=[ToolCallBody.of(call) for call in message.tool_calls] or None, pinned=message.pinned,
            meta=dict(stored.meta),
        )  # fmt: skip


class ConversationBody(BaseModel):
    """A conversation without its messages. `owner` is the name of the API key that created it, if it needed one."""

    id: str
    object: Literal["conversation"] = "conversation"
    title: str
    model: str
    created: float
    updated: float
    owner: str | None

    @classmethod
    def of(cls, stored: StoredConversation) -> "ConversationBody":
        """Convert a conversation of the store."""
        return cls(
            id=stored.id, title=stored.title, model=stored.model, created=stored.created, updated=stored.updated,
            owner=stored.owner,
        )  # fmt: skip


class ConversationWithMessages(ConversationBody):
    """A conversation with the branch that is shown, from the first message to the `head`; `tree` on request."""

    head: str | None
    messages: list[MessageBody]
    tree: list[MessageBody] | None = None

    @classmethod
    def of(cls, stored: StoredConversation, *, tree: bool = False) -> "ConversationWithMessages":
        """Convert a conversation of the store; with `tree`, include the messages of all branches."""
        return cls(
            **ConversationBody.of(stored).model_dump(),
            head=stored.head,
            messages=[MessageBody.of(message) for message in stored.messages],
            tree=[MessageBody.of(message) for message in stored.tree] if tree else None,
        )
