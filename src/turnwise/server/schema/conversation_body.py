"""Stored conversations and messages."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from turnwise.core.conversation_folders import Folder
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


class MatchBody(BaseModel):
    """The message that contains the text of a search."""

    message_id: str
    excerpt: str


class ConversationBody(BaseModel):
    """A conversation without its messages. `owner` is the name of the API key that created it, if it needed one.

    `title_source` is "user", "first_words" or "model". `match` is set in the results of a search, unless only the title
    has its text.
    """

    id: str
    object: Literal["conversation"] = "conversation"
    title: str
    model: str
    created: float
    updated: float
    owner: str | None
    pinned: bool
    folder_id: str | None
    title_source: str
    match: MatchBody | None = None

    @classmethod
    def of(cls, stored: StoredConversation) -> "ConversationBody":
        """Convert a conversation of the store."""
        match = stored.match
        return cls(
            id=stored.id, title=stored.title, model=stored.model, created=stored.created, updated=stored.updated,
            owner=stored.owner, pinned=stored.is_pinned, folder_id=stored.folder_id, title_source=stored.title_source,
            match=None if match is None else MatchBody(message_id=match.message_id, excerpt=match.excerpt),
        )  # fmt: skip


class ConversationWithSettings(ConversationBody):
    """A conversation with its settings, without its messages."""

    settings: dict[str, Any]

    @classmethod
    def of(cls, stored: StoredConversation) -> "ConversationWithSettings":
        """Convert a conversation of the store."""
        return cls(**ConversationBody.of(stored).model_dump(), settings=dict(stored.settings))


class RunningAnswerBody(BaseModel):
    """An answer that is being generated in the background.

    `after` is the number of messages of the shown branch that precede it; null if it belongs to another branch. The
    message that follows them, if there is one, is the stored part of the answer, an earlier version of it, or what it
    continues.
    """

    id: str
    after: int | None


class ConversationWithMessages(ConversationWithSettings):
    """A conversation with the branch that is shown, from the first message to the `head`; `tree` on request.

    `running` lists its answers that are being generated in the background.
    """

    head: str | None
    running: list[RunningAnswerBody]
    messages: list[MessageBody]
    tree: list[MessageBody] | None = None

    @classmethod
    def of(
        cls, stored: StoredConversation, running: Sequence[RunningAnswerBody] = (), *, tree: bool = False
    ) -> "ConversationWithMessages":
        """Convert a conversation of the store; with `tree`, include the messages of all branches."""
        return cls(
            **ConversationWithSettings.of(stored).model_dump(),
            head=stored.head,
            running=list(running),
            messages=[MessageBody.of(message) for message in stored.messages],
            tree=[MessageBody.of(message) for message in stored.tree] if tree else None,
        )


class FolderBody(BaseModel):
    """A folder of conversations."""

    id: str
    object: Literal["conversation.folder"] = "conversation.folder"
    name: str
    created: float
    owner: str | None
    num_conversations: int

    @classmethod
    def of(cls, folder: Folder) -> "FolderBody":
        """Convert a folder of the store."""
        return cls(
            id=folder.id, name=folder.name, created=folder.created, owner=folder.owner,
            num_conversations=folder.num_conversations,
        )  # fmt: skip
