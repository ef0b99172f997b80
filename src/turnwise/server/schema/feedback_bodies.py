"""Feedback: the body of a request, and stored feedback."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.feedback import (
    FEEDBACK_TAGS,
    MAX_FEEDBACK_CHARS,
    MAX_TAG_CHARS,
    MAX_TAGS,
    AnswerReference,
    Feedback,
    FeedbackRole,
    NewFeedback,
    normalize_tags,
)
from turnwise.server.schema.common_fields import ConsentFields
from turnwise.server.schema.json_object import invalid_field
from turnwise.server.schema.request_field import Reader, RequestBody

Rating = Literal["up", "down"]
RATING_VALUES: dict[Rating, int] = {"up": 1, "down": -1}
MAX_USER_CHARS = 512
_TAGS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "maxItems": MAX_TAGS,
    "items": {"type": "string", "maxLength": MAX_TAG_CHARS},
    "description": f"Reasons: {', '.join(FEEDBACK_TAGS)}, or own ones with the consent 'full'.",
}


def read_tags(value: Any) -> tuple[str, ...]:
    """Return the tags. Raises `InvalidParameter`."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise invalid_field("tags", "must be a list of strings")
    return normalize_tags(value)


class OpinionFields(RequestBody):
    """What a person says about an answer."""

    rating: Annotated[Rating | None, Field(description="Thumbs up or down.")] = None
    correction: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=MAX_FEEDBACK_CHARS, description="What the answer should have been."),
    ] = None
    comment: Annotated[StrictStr | None, Field(min_length=1, max_length=MAX_FEEDBACK_CHARS)] = None
    tags: Annotated[tuple[str, ...], Reader(read_tags, _TAGS_SCHEMA)] = ()

    @property
    def rating_value(self) -> int | None:
        """The rating as stored."""
        return None if self.rating is None else RATING_VALUES[self.rating]


class FeedbackCreate(OpinionFields, ConsentFields):
    """Feedback on an answer: a rating, a correction, a comment, tags, or several of them.

    The answer is a choice of a stored completion, or a message of a stored conversation.
    """

    completion_id: Annotated[
        StrictStr | None, Field(min_length=1, max_length=100, description="Id of a stored completion.")
    ] = None
    index: Annotated[StrictInt, Field(ge=0, lt=2**31, description="Index of the choice of a completion.")] = 0
    message_id: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=100, description="Id of a message of the assistant in a stored conversation."),
    ] = None
    user: Annotated[
        StrictStr | None, Field(max_length=MAX_USER_CHARS, description="Id of the person who gives feedback.")
    ] = None

    @model_validator(mode="after")
    def _check(self) -> "FeedbackCreate":
        self.content.check()
        if (self.completion_id is None) == (self.message_id is None):
            raise InvalidParameter("completion_id", "Feedback needs a 'completion_id' or a 'message_id', and not both.")
        if self.message_id is not None and self.index:
            raise InvalidParameter("index", "'index' is for completions; a message is one answer.")
        return self

    @property
    def answer(self) -> AnswerReference:
        """The answer that the feedback is about."""
        if self.message_id is not None:
            return AnswerReference("message", self.message_id)
        assert self.completion_id is not None
        return AnswerReference("completion", self.completion_id, self.index)

    @property
    def content(self) -> NewFeedback:
        """The feedback for the store."""
        return NewFeedback(self.rating_value, self.correction, self.comment, self.tags, self.user)


class FeedbackBody(BaseModel):
    """Stored feedback. It has a `completion_id` with an `index`, or a `message_id`."""

    id: str
    object: Literal["chat.completion.feedback"] = "chat.completion.feedback"
    completion_id: str | None
    index: int
    message_id: str | None
    created: float
    rating: Rating | None
    correction: str | None
    comment: str | None
    tags: list[str]
    user: str | None
    role: FeedbackRole
    version: str

    @classmethod
    def of(cls, feedback: Feedback) -> "FeedbackBody":
        """Convert feedback of the store."""
        answer, content = feedback.answer, feedback.content
        is_message = answer.kind == "message"
        rating: Rating | None = None if content.rating is None else "up" if content.rating > 0 else "down"
        return cls(
            id=feedback.id, completion_id=None if is_message else answer.id, index=answer.index,
            message_id=answer.id if is_message else None, created=feedback.created, rating=rating,
            correction=content.correction, comment=content.comment, tags=list(content.tags), user=content.user,
            role=content.role, version=feedback.version,
        )  # fmt: skip


class DeletedFeedback(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["chat.completion.feedback.deleted"] = "chat.completion.feedback.deleted"
    deleted: Literal[True] = True
