"""Hand-offs of conversations to people: the records, and the port of their store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from turnwise.core.handoff_states import HandoffEventKind, HandoffLimits, HandoffState, HandoffStatus
from turnwise.core.messages import Message
from turnwise.core.stored_messages import StoredMessage

NOTICE_META = "notice"  # key in the `meta` of a message that only the customer sees: the model never does
PERSON_META = "person"  # key in the `meta` of a message that a person wrote: the person's name


@dataclass(frozen=True, slots=True)
class HandoffRequest:
    """A new hand-off.

    Attributes:
        conversation_id: the conversation.
        reason: why a person is needed, as a code such as "requested".
        summary: what the conversation is about, for the person.
        attempts: what was tried before, one entry per answer.
        language: language of the customer, such as "en".
        notices: sentences for the customer by the event they follow ("open", "claim", "return", "close", "cancel",
            "time_out"). They are stored as messages with the transition itself. `{agent}` stands for the person's name.
        notice_meta: further metadata of the message of "open".
        limits: how long the customer waits.
    """

    conversation_id: str
    reason: str = ""
    summary: str = ""
    attempts: tuple[str, ...] = ()
    language: str = "en"
    notices: Mapping[str, str] = field(default_factory=dict)
    notice_meta: Mapping[str, Any] = field(default_factory=dict)
    limits: HandoffLimits = field(default_factory=HandoffLimits)


@dataclass(frozen=True, slots=True)
class Handoff:
    """A stored hand-off.

    Attributes:
        id: id.
        request: what it was opened with.
        created: Unix time in seconds.
        changed: Unix time of the last event.
        status: who speaks.
        revision: grows with every event.
    """

    id: str
    request: HandoffRequest
    created: float
    changed: float
    status: HandoffStatus
    revision: int

    @property
    def state(self) -> HandoffState:
        """The state."""
        return self.status.state

    @property
    def is_open(self) -> bool:
        """True if the model is silent."""
        return self.status.is_open


class HandoffStore(Protocol):
    """Stores hand-offs in the database of the conversations. A conversation has at most one open hand-off.

    The store is part of a `ConversationStore` and has its principal: a hand-off is visible to the owner of its
    conversation, and to those who answer hand-offs. Methods raise `NotFound` for unknown and for invisible ids, and as
    `ConversationStore` does.

    Every method first applies what has happened by itself: lost claims and ends of waits.
    """

    def open(self, request: HandoffRequest) -> Handoff:
        """Open a hand-off of an own conversation. Returns the open one if there is one already."""

    def get(self, id: str) -> Handoff:
        """A hand-off."""

    def messages(self, id: str) -> tuple[StoredMessage, ...]:
        """The current branch of the conversation of a hand-off."""

    def current(self, conversation_id: str) -> Handoff | None:
        """The newest hand-off of an own conversation; None if it never had one."""

    def list(self, states: Sequence[HandoffState], *, limit: int) -> list[Handoff]:
        """Hand-offs in these states, oldest first."""

    def revision(self, id: str | None = None) -> int:
        """Changes with every event of a hand-off; None: of any hand-off."""

    def current_revision(self, conversation_id: str) -> int:
        """The revision of the newest hand-off of an own conversation; 0 if it never had one."""

    def apply(self, id: str, kind: HandoffEventKind, *, claim: str = "", agent: str = "") -> Handoff:
        """Apply an event, and store the notice for the customer, if there is one.

        "cancel" is for the owner of the conversation, other events for those who answer. Raises `HandoffConflict`.
        """

    def send(self, id: str, claim: str, text: str) -> Handoff:
        """Add a message of the person who has the claim to the conversation. Raises `HandoffConflict`."""

    def receive(self, conversation_id: str, messages: Sequence[Message]) -> Handoff | None:
        """Add messages of the customer below the last message, if a hand-off is open.

        Returns:
            The hand-off; None if none is open, and nothing was added.
        """

    def say(self, conversation_id: str, message: Message, meta: Mapping[str, Any], *, parent_id: str | None) -> str:
        """Add a message of the service: below the last message if a hand-off is open, which is an event of it.

        Without an open hand-off it is added below the message `parent_id`.

        Returns:
            The id of the message.
        """
