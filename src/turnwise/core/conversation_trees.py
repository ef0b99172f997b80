"""Conversations with all their branches as plain values, for import and export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from turnwise.core.messages import Message

if TYPE_CHECKING:
    from turnwise.core.stored_conversations import StoredConversation

ExportFormat = Literal["jsonl", "markdown"]


@dataclass(frozen=True, slots=True)
class TreeMessage:
    """A message of a tree.

    Attributes:
        id: unique in the tree.
        parent_id: id of the previous message, which precedes this one in the tree; None for a first message.
        message: the message.
        created: Unix time in seconds; None if unknown.
        meta: plain JSON, as in `StoredMessage.meta`.
    """

    id: str
    parent_id: str | None
    message: Message
    created: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConversationTree:
    """A conversation of a file.

    Attributes:
        messages: messages of all branches, parents before their children; not empty.
        head: id of the last message of the displayed branch; None: the last message.
        title: title; "" if there is none.
        source_id: id in the program that wrote the file; "" if there is none.
        model: model of the answers; "" if unknown.
        created: Unix time in seconds; None if unknown.
        updated: Unix time of the last change, in seconds; None if unknown.
        is_pinned: the conversation is at the top of the list.
        folder: name of its folder; "" if there is none.
        settings: settings of the conversation.
        num_omitted: number of parts that are not text, such as pictures.
    """

    messages: tuple[TreeMessage, ...]
    head: str | None = None
    title: str = ""
    source_id: str = ""
    model: str = ""
    created: float | None = None
    updated: float | None = None
    is_pinned: bool = False
    folder: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    num_omitted: int = 0


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A conversation of a file that cannot be imported. `position` is such as "line 3"."""

    position: str
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedConversations:
    """What a file has. `format` is the name of its data format."""

    format: str
    trees: tuple[ConversationTree, ...]
    problems: tuple[FileProblem, ...]


class ConversationFiles(Protocol):
    """Reads and writes files of conversations."""

    def parse(self, path: Path, name: str) -> ParsedConversations:
        """Read all conversations of a file that is called `name`.

        Raises:
            InvalidData: the file is of no known format, or too large.
        """

    def write(self, conversation: "StoredConversation", folder: str, format: ExportFormat) -> str:
        """A conversation with its messages as text. Texts of the same format can be joined.

        Args:
            conversation: the conversation, with its tree.
            folder: name of its folder; "" if it has none.
            format: "jsonl" has everything and can be imported again; "markdown" has the displayed branch.
        """


@dataclass(frozen=True, slots=True)
class ImportedConversations:
    """Result of an import: ids of the new conversations in the order of the file, and what was there already."""

    ids: Sequence[str]
    num_messages: int
    known_ids: Sequence[str]
