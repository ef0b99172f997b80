"""`/v1/feedback`: ratings, corrections and comments on stored completions."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, StrictInt, StrictStr, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.served_versions import VERSION_KEY
from turnwise.core.stored_completions import CompletionStore, Feedback
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.request_field import RequestBody
from turnwise.server.served_models import ServedModels

MAX_FEEDBACK_CHARS = 100_000  # of a correction or a comment
Rating = Literal["up", "down"]
RATING_VALUES: dict[Rating, int] = {"up": 1, "down": -1}


class FeedbackCreate(RequestBody):
    """Feedback on a choice of a stored completion: a rating, a correction, a comment, or several of them."""

    completion_id: Annotated[StrictStr, Field(min_length=1, max_length=100)]
    index: Annotated[StrictInt, Field(ge=0, description="Index of the choice.")] = 0
    rating: Annotated[Rating | None, Field(description="Thumbs up or down.")] = None
    correction: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=MAX_FEEDBACK_CHARS, description="What the answer should have been."),
    ] = None
    comment: Annotated[StrictStr | None, Field(min_length=1, max_length=MAX_FEEDBACK_CHARS)] = None
    user: Annotated[StrictStr | None, Field(max_length=512, description="Id of the person who gives feedback.")] = None

    @model_validator(mode="after")
    def _check_not_empty(self) -> "FeedbackCreate":
        if self.rating is None and self.correction is None and self.comment is None:
            raise InvalidParameter("rating", "Feedback needs a 'rating', a 'correction' or a 'comment'.")
        return self


class FeedbackBody(BaseModel):
    """Stored feedback."""

    id: str
    object: Literal["chat.completion.feedback"] = "chat.completion.feedback"
    completion_id: str
    index: int
    created: float
    rating: Rating | None
    correction: str | None
    comment: str | None
    user: str | None

    @classmethod
    def of(cls, feedback: Feedback) -> "FeedbackBody":
        """Convert feedback of the store."""
        rating: Rating | None = None if feedback.rating is None else "up" if feedback.rating > 0 else "down"
        return cls(
            id=feedback.id, completion_id=feedback.completion_id, index=feedback.index, created=feedback.created,
            rating=rating, correction=feedback.correction, comment=feedback.comment, user=feedback.user,
        )  # fmt: skip


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["stored completions"])

    def store() -> CompletionStore:
        return served_models.store.completions

    @routes.get("/v1/chat/completions/{id}/feedback")
    @requires("user")
    async def list_feedback(id: str) -> list[FeedbackBody]:
        """List the feedback on a stored completion, oldest first."""
        return [FeedbackBody.of(entry) for entry in await STORE_READ_EXECUTOR.run(store().list_feedback, id)]

    @routes.post("/v1/feedback", openapi_extra=json_request_body(FeedbackCreate))
    @requires("user")
    async def create_feedback(request: Request) -> FeedbackBody:
        """Give feedback on a choice of a stored completion."""
        body = await read_body(request, FeedbackCreate, max_body_bytes)
        completion = await STORE_READ_EXECUTOR.run(store().get, body.completion_id)
        num_choices = len(completion.response["choices"])
        if body.index >= num_choices:
            raise InvalidParameter(
                "index", f"'index' is {body.index}; the last choice has the index {num_choices - 1}."
            )
        earlier = await STORE_READ_EXECUTOR.run(store().list_feedback, body.completion_id)
        feedback = await STORE_WRITE_EXECUTOR.run(
            store().add_feedback, body.completion_id, index=body.index,
            rating=None if body.rating is None else RATING_VALUES[body.rating], correction=body.correction,
            comment=body.comment, user=body.user,
        )  # fmt: skip
        if feedback.rating is not None:
            ratings = [entry.rating for entry in earlier if entry.index == body.index and entry.rating is not None]
            served_models.record_rating(
                completion.response.get(VERSION_KEY), feedback.rating, ratings[-1] if ratings else None
            )
        return FeedbackBody.of(feedback)

    return routes
