"""The review queue: answers that wait for a verdict, verdicts, and the agreement of reviewers."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictStr

from turnwise.core.collected_answers import Rating
from turnwise.core.feedback import AnswerReference, NewFeedback
from turnwise.core.messages import Message
from turnwise.core.review import ReviewAgreement, ReviewItem, ReviewReason
from turnwise.server.schema.feedback_bodies import MAX_USER_CHARS, OpinionFields
from turnwise.server.schema.feedback_bodies import Rating as RatingName


class ReviewVerdict(OpinionFields):
    """The verdict of a reviewer on an answer."""

    answer: Annotated[StrictStr, Field(min_length=1, max_length=200, description="Id of the answer in the queue.")]
    reviewer: Annotated[
        StrictStr | None, Field(min_length=1, max_length=MAX_USER_CHARS, description="Name of the reviewer.")
    ] = None

    @property
    def reference(self) -> AnswerReference:
        """The answer. Raises `InvalidParameter`."""
        return AnswerReference.parse(self.answer)

    @property
    def content(self) -> NewFeedback:
        """The verdict for the store."""
        return NewFeedback(self.rating_value, self.correction, self.comment, self.tags, self.reviewer, "reviewer")


class ReviewMessage(BaseModel):
    """A message of the conversation."""

    role: str
    content: str

    @classmethod
    def of(cls, message: Message) -> "ReviewMessage":
        """Convert a message; tool calls are shown as text."""
        return cls(role=message.role, content=message.full_text)


class ReviewRating(BaseModel):
    """A rating of an answer, without the person who gave it."""

    rating: RatingName
    created: float
    tags: list[str]

    @classmethod
    def of(cls, rating: Rating) -> "ReviewRating":
        """Convert a rating."""
        return cls(rating="up" if rating.value > 0 else "down", created=rating.created, tags=list(rating.tags))


class ReviewItemBody(BaseModel):
    """An answer that waits for a verdict, with the messages before it and its feedback."""

    id: str
    object: Literal["review.item"] = "review.item"
    reason: ReviewReason
    created: float
    model: str
    history: list[ReviewMessage]
    answer: ReviewMessage
    ratings: list[ReviewRating]
    better_answers: list[str]
    num_reviews: int
    mean_logprob: float | None

    @classmethod
    def of(cls, item: ReviewItem) -> "ReviewItemBody":
        """Convert an item of the queue."""
        answer = item.answer
        return cls(
            id=answer.id, reason=item.reason, created=answer.created, model=answer.model,
            history=[ReviewMessage.of(message) for message in answer.history], answer=ReviewMessage.of(answer.answer),
            ratings=[ReviewRating.of(rating) for rating in answer.ratings],
            better_answers=[preferred.answer.content for preferred in answer.preferred],
            num_reviews=item.num_reviews, mean_logprob=item.mean_logprob,
        )  # fmt: skip


class ReviewQueueBody(BaseModel):
    """The head of the queue."""

    object: Literal["list"] = "list"
    data: list[ReviewItemBody]


class AgreementBody(BaseModel):
    """Agreement of two reviewers; `kappa` is Cohen's kappa, null if it is not defined."""

    reviewers: list[str]
    num_answers: int
    share: float
    kappa: float | None

    @classmethod
    def of(cls, agreement: ReviewAgreement) -> "AgreementBody":
        """Convert an agreement."""
        return cls(
            reviewers=list(agreement.reviewers), num_answers=agreement.num_answers, share=agreement.share,
            kappa=agreement.kappa,
        )  # fmt: skip


class AgreementList(BaseModel):
    """Agreement of each two reviewers."""

    object: Literal["list"] = "list"
    data: list[AgreementBody]
