"""Bodies of `/v1/handoffs` and `/v1/conversations/{id}/handoff`."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictStr

from turnwise.core.handoff_states import HandoffState, Speaker
from turnwise.core.handoffs import NOTICE_META, PERSON_META, Handoff
from turnwise.core.stored_messages import StoredMessage
from turnwise.server.schema.request_field import RequestBody

MAX_MESSAGE_CHARS = 20_000
ClaimSecret = Annotated[
    StrictStr, Field(min_length=1, max_length=100, description="The secret that `claim` returned to this person.")
]


class HandoffClaim(RequestBody):
    """A person takes over."""

    agent: Annotated[StrictStr, Field(max_length=80, pattern=r"\S", description="Name that the customer sees.")]
    claim: Annotated[
        StrictStr | None,
        Field(min_length=32, max_length=100, description="The secret of an earlier claim, to renew it."),
    ] = None


class HandoffAction(RequestBody):
    """An action of the person who has the claim."""

    claim: ClaimSecret


class HandoffReply(HandoffAction):
    """A message of the person who has the claim."""

    text: Annotated[StrictStr, Field(min_length=1, max_length=MAX_MESSAGE_CHARS, pattern=r"\S")]


class HandoffOpen(RequestBody):
    """The customer asks for a person."""

    language: Annotated[StrictStr, Field(max_length=20, description="Language of the sentences, such as 'zh'.")] = "en"
    reason: Annotated[StrictStr, Field(max_length=80, description="A code for the queue.")] = "requested"


class HandoffMessage(BaseModel):
    """A message of the conversation. `author` is customer, model, person or notice; a notice is from the system."""

    id: str
    created: float
    author: Literal["customer", "model", "person", "notice", "system"]
    name: str | None
    text: str

    @classmethod
    def of(cls, stored: StoredMessage) -> "HandoffMessage":
        """Convert a message of the store."""
        meta, role = stored.meta, stored.message.role
        person = meta.get(PERSON_META)
        author: Literal["customer", "model", "person", "notice", "system"] = (
            "notice" if NOTICE_META in meta
            else "person" if person is not None
            else "customer" if role == "user"
            else "model" if role == "assistant"
            else "system"
        )  # fmt: skip
        return cls(id=stored.id, created=stored.created, author=author, name=person, text=stored.message.content)


class HandoffBody(BaseModel):
    """A hand-off in the queue. `answer_by` is the time at which it ends if the customer still waits for an answer."""

    id: str
    object: Literal["handoff"] = "handoff"
    conversation_id: str
    state: HandoffState
    speaker: Speaker
    agent: str
    reason: str
    summary: str
    attempts: list[str]
    language: str
    created: float
    changed: float
    lease_until: float | None
    answer_by: float | None
    revision: int

    @classmethod
    def of(cls, handoff: Handoff) -> "HandoffBody":
        """Convert a stored hand-off. The secret of the claim is left out."""
        request, status = handoff.request, handoff.status
        return cls(
            id=handoff.id, conversation_id=request.conversation_id, state=status.state, speaker=status.speaker,
            agent=status.agent, reason=request.reason, summary=request.summary, attempts=list(request.attempts),
            language=request.language, created=handoff.created, changed=handoff.changed,
            lease_until=status.lease_until, answer_by=status.answer_by, revision=handoff.revision,
        )  # fmt: skip


class ClaimedHandoff(HandoffBody):
    """A hand-off with the secret of its claim, for the person who has it."""

    claim: str

    @classmethod
    def with_claim(cls, handoff: Handoff) -> "ClaimedHandoff":
        """Convert a stored hand-off, with the secret."""
        return cls(**HandoffBody.of(handoff).model_dump(), claim=handoff.status.claim)


class HandoffWithMessages(HandoffBody):
    """A hand-off with the messages of its conversation, oldest first, without system prompts and tool results."""

    messages: list[HandoffMessage]

    @classmethod
    def with_messages(cls, handoff: Handoff, messages: Iterable[StoredMessage]) -> "HandoffWithMessages":
        """Convert a stored hand-off and the messages of its conversation."""
        bodies = [body for body in map(HandoffMessage.of, messages) if body.author != "system" and body.text]
        return cls(**HandoffBody.of(handoff).model_dump(), messages=bodies)


class HandoffList(BaseModel):
    """Hand-offs, oldest first. `revision` changes with every event of any hand-off."""

    object: Literal["list"] = "list"
    data: list[HandoffBody]
    revision: int
    has_more: bool


class CustomerHandoff(BaseModel):
    """What a customer sees of a hand-off: who speaks, and the messages since it was opened."""

    object: Literal["conversation.handoff"] = "conversation.handoff"
    conversation_id: str
    state: HandoffState
    speaker: Speaker
    agent: str
    revision: int
    messages: list[HandoffMessage]

    @classmethod
    def of(cls, handoff: Handoff, messages: Iterable[StoredMessage]) -> "CustomerHandoff":
        """Convert a stored hand-off and the messages of its conversation."""
        since = [HandoffMessage.of(entry) for entry in messages if entry.meta.get("handoff") == handoff.id]
        return cls(
            conversation_id=handoff.request.conversation_id, state=handoff.state, speaker=handoff.status.speaker,
            agent=handoff.status.agent, revision=handoff.revision, messages=since,
        )  # fmt: skip
