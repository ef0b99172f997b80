"""`/v1/feedback`: ratings, corrections, comments and tags on stored completions and on messages of conversations."""

from fastapi import APIRouter, Request

from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.feedback import FeedbackStore
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.feedback_bodies import DeletedFeedback, FeedbackBody, FeedbackCreate
from turnwise.server.schema.list_page import ListPage, PageLimit
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["feedback"])

    def store() -> FeedbackStore:
        return served_models.store.feedback

    @routes.get("/v1/chat/completions/{id}/feedback")
    @requires("user")
    async def list_completion_feedback(id: str) -> list[FeedbackBody]:
        """List the feedback on a stored completion, oldest first."""
        return [FeedbackBody.of(entry) for entry in await STORE_READ_EXECUTOR.run(store().of_completion, id)]

    @routes.get("/v1/conversations/{id}/feedback")
    @requires("user")
    async def list_conversation_feedback(id: str) -> list[FeedbackBody]:
        """List the feedback on the messages of a conversation, oldest first."""
        return [FeedbackBody.of(entry) for entry in await STORE_READ_EXECUTOR.run(store().of_conversation, id)]

    @routes.get("/v1/feedback")
    @requires("user")
    async def list_feedback(limit: PageLimit = 20, after: str | None = None) -> ListPage:
        """List the feedback of this API key, oldest first."""
        page, has_more = await STORE_READ_EXECUTOR.run(store().list, limit=limit, after=after)
        return ListPage.of([FeedbackBody.of(entry).model_dump() for entry in page], has_more)

    @routes.post("/v1/feedback", openapi_extra=json_request_body(FeedbackCreate))
    @requires("user")
    async def create_feedback(request: Request) -> FeedbackBody:
        """Give feedback on a choice of a stored completion, or on a message of a stored conversation.

        A later rating of the same person replaces the earlier one where ratings are counted.
        """
        body = await read_body(request, FeedbackCreate, max_body_bytes)
        earlier = await STORE_READ_EXECUTOR.run(store().of_answer, body.answer)
        consent = served_models.consent_policy.of_request(body.collect)
        feedback = await STORE_WRITE_EXECUTOR.run(store().add, body.answer, body.content, consent=consent)
        if feedback.content.rating is not None:
            # An answer counts once, however many people or names of `user` rate it.
            ratings = [entry.content.rating for entry in earlier if entry.content.role == "user"]
            previous = next((rating for rating in reversed(ratings) if rating is not None), None)
            origin = await STORE_READ_EXECUTOR.run(store().origin, body.answer)
            served_models.record_rating(origin, feedback.content.rating, previous)
        return FeedbackBody.of(feedback)

    @routes.delete("/v1/feedback/{id}")
    @requires("user")
    async def delete_feedback(id: str) -> DeletedFeedback:
        """Delete feedback of this API key."""
        await STORE_WRITE_EXECUTOR.run(store().delete, id)
        return DeletedFeedback(id=id)

    return routes
