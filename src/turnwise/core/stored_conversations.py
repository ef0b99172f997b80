"""The conversation port: stored conversations, and the interface of the conversation store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from turnwise.core.access import Principal
from turnwise.core.collected_answers import CollectedAnswerReader
from turnwise.core.comparisons import ComparisonStore
from turnwise.core.conversation_folders import FolderStore
from turnwise.core.conversation_trees import ConversationTree, ImportedConversations
from turnwise.core.data_subjects import PersonalDataStore
from turnwise.core.feedback import FeedbackStore
from turnwise.core.handoffs import HandoffStore
from turnwise.core.messages import Message
from turnwise.core.review import ReviewQueue
from turnwise.core.stored_completions import CompletionStore
from turnwise.core.stored_messages import StoredMessage
from turnwise.core.stored_responses import ResponseStore

HEAD = ""  # instead of a message id: the last message of the current branch
TitleSource = Literal["user", "first_words", "model"]


@dataclass(frozen=True, slots=True)
class MessageMatch:
    """A message that contains the text of a search, with an excerpt around it."""

    message_id: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class ConversationChanges:
    """Changes of a conversation; None: unchanged.

    Attributes:
        title: title of the user. A generated one never replaces it.
        is_pinned: whether it is pinned.
        folder_id: its folder, or `NO_FOLDER`.
        settings: all its settings.
        head: id of a message; the newest message below it becomes the head.
    """

    title: str | None = None
    is_pinned: bool | None = None
    folder_id: str | None = None
    settings: Mapping[str, Any] | None = None
    head: str | None = None


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A stored conversation: a tree of messages. `ConversationStore.list` leaves `settings`, `head`, `messages` and
    `tree` empty.

    Attributes:
        id: id.
        title: title.
        model: model of the first request.
        created: Unix time of creation, in seconds.
        updated: Unix time of the last added message.
        owner: name of the API key that created it; None if none was needed.
        is_pinned: it is at the top of the list.
        folder_id: id of its folder; None if it is in none.
        settings: how requests of the conversation are sent, as plain JSON.
        title_source: who wrote the title. A generated one may replace the "first_words" of the conversation only.
        match: where the text of a search is. None without a search, and if only the title has it.
        head: id of the last message of the current branch; None if there are no messages.
        messages: current branch, from the first message to the head.
        tree: messages of all branches, oldest first.
    """

    id: str
    title: str
    model: str
    created: float
    updated: float
    owner: str | None = None
    is_pinned: bool = False
    folder_id: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    title_source: TitleSource = "user"
    match: MessageMatch | None = None
    head: str | None = None
    messages: tuple[StoredMessage, ...] = ()
    tree: tuple[StoredMessage, ...] = ()


class ConversationStore(Protocol):
    """Stores conversations as trees of messages. Messages are deleted only together with their conversation.

    A method that writes returns after the change is synced to disk. Every method raises `Unavailable` if another
    process holds the store for too long, and `SaveFailed` if a write fails.

    A store has a principal, who sees own records only, or, as an admin, all records. To others they do not exist: the
    error is that of an unknown id. A store that was opened is `UNRESTRICTED`.
    """

    def for_principal(self, principal: Principal) -> "ConversationStore":
        """This store as `principal` sees it, with the same database."""

    @property
    def completions(self) -> CompletionStore:
        """Stored completions, in the same database."""

    @property
    def responses(self) -> ResponseStore:
        """Stored responses (`/v1/responses`), in the same database."""

    @property
    def feedback(self) -> FeedbackStore:
        """Feedback on answers, in the same database."""

    @property
    def comparisons(self) -> ComparisonStore:
        """Comparisons of two answers, in the same database."""

    @property
    def collected_answers(self) -> CollectedAnswerReader:
        """Answers that people rated, corrected or replaced."""

    @property
    def review_queue(self) -> ReviewQueue:
        """Answers that people should look at."""

    @property
    def personal_data(self) -> PersonalDataStore:
        """What is stored of people, of all owners: for programs on this machine."""

    @property
    def handoffs(self) -> HandoffStore:
        """Hand-offs of conversations to people, in the same database."""

    @property
    def folders(self) -> FolderStore:
        """Folders of conversations, in the same database."""

    def create(
        self,
        *,
        title: str,
        model: str,
        title_source: TitleSource = "user",
        folder_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> StoredConversation:
        """Create a conversation.

        Raises:
            NotFound: there is no such folder.
            InvalidParameter: the folder belongs to another owner.
        """

    def add_trees(
        self, trees: Sequence[ConversationTree], *, model: str, meta: Mapping[str, Any] | None = None
    ) -> ImportedConversations:
        """Import conversations in one transaction, and create the folders that they name.

        A conversation that is in the store already is not added again: one with the `source_id`, or one that was
        imported with the same messages.

        Args:
            trees: the conversations.
            model: model of those that name none.
            meta: added to the metadata of every message.
        """

    def fork(self, conversation_id: str, message_id: str, title: str) -> StoredConversation:
        """Copy the branch that ends with a message to a new conversation. Raises `NotFound`."""

    def ensure_branch(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        *,
        title: str = "",
        meta: Mapping[str, Any] | None = None,
    ) -> tuple[str, ...]:
        """Ensure that `messages` is a branch of the tree and return the message ids.

        The longest prefix that a branch already has is reused. The other messages are added below it in one
        transaction, and the last one becomes the head. If nothing is added, the head stays and the `error` in the
        `meta` of the last message is removed, because the request is repeated. A conversation without a title gets
        `title`. Added messages get `meta`; an added message of the assistant that replaces a generated one also gets
        `edited`, because the person changed the answer. Raises `NotFound`.
        """

    def append(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        meta: Mapping[str, Any] | None = None,
        *,
        parent_id: str | None = HEAD,
    ) -> tuple[str, ...]:
        """Add messages, each below the previous one, in one transaction. Make the last one the head. Return the ids.

        Args:
            conversation_id: id of the conversation. Raises `NotFound`.
            messages: messages to add.
            meta: stored with each message.
            parent_id: parent of the first message; None: the first message starts a branch of its own.
        """

    def update_message(self, message_id: str, *, content: Message | None = None, meta: Mapping[str, Any]) -> None:
        """Update a message or its metadata. Raises `NotFound`.

        Args:
            message_id: id of the message.
            content: new message; None: unchanged.
            meta: keys to set; a key with value None is removed, other keys stay.
        """

    def get(self, conversation_id: str) -> StoredConversation:
        """A conversation with its messages. Raises `NotFound`."""

    def list(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        query: str = "",
        is_pinned: bool | None = None,
        folder_id: str | None = None,
    ) -> list[StoredConversation]:
        """Conversations without messages, most recently updated first.

        Args:
            limit: maximum number of conversations.
            after: id of the last conversation of the previous page. Raises `NotFound`.
            query: return only conversations whose title or messages contain this text, ignoring case.
            is_pinned: return pinned ones or the others; None: both.
            folder_id: return those of a folder, or outside of folders (`NO_FOLDER`); None: all.
        """

    def list_ids(self, ids: Sequence[str] | None = None) -> Sequence[str]:
        """Ids of all conversations, most recently updated first, or of the given ones, each once, in their order.

        Raises `NotFound` if one of the given conversations does not exist.
        """

    def select_branch(self, conversation_id: str, message_id: str) -> None:
        """Switch branches: the newest message below `message_id` becomes the head. Raises `NotFound`."""

    def update(self, conversation_id: str, changes: ConversationChanges) -> None:
        """Change a conversation, all or nothing. Its place in the list stays.

        Raises:
            NotFound: there is no such conversation, folder or message.
            InvalidParameter: the folder belongs to another owner.
        """

    def set_generated_title(self, conversation_id: str, title: str) -> bool:
        """Set a title if the present one is made of first words. Returns whether it was set. Raises `NotFound`."""

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation with its messages. Raises `NotFound`."""

    def close(self) -> None:
        """Close the database."""
