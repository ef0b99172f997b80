"""`/v1/review`: answers that people should look at, verdicts, and the agreement of reviewers."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.feedback_bodies import FeedbackBody
from turnwise.server.schema.list_page import PageLimit
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.review_bodies import (
    AgreementBody,
    AgreementList,
    ReviewItemBody,
    ReviewQueueBody,
    ReviewVerdict,
)
from turnwise.server.served_models import ServedModels


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/review", tags=["review"])

    @routes.get("")
    @requires("agent")
    async def list_review_items(
        limit: PageLimit = 20,
        reviewer: Annotated[
            str | None, Query(min_length=1, max_length=512, description="Name of the reviewer.")
        ] = None,
    ) -> ReviewQueueBody:
        """List answers that the reviewer has not rated: first disputed, then disliked, uncertain and off-topic ones."""
        queue = served_models.store.review_queue
        items = await STORE_READ_EXECUTOR.run(queue.next, reviewer, limit=limit)
        return ReviewQueueBody(data=[ReviewItemBody.of(item) for item in items])

    @routes.post("", openapi_extra=json_request_body(ReviewVerdict))
    @requires("agent")
    async def add_verdict(request: Request) -> FeedbackBody:
        """Give a verdict on an answer. It is stored as feedback with the role "reviewer"."""
        body = await read_body(request, ReviewVerdict, max_body_bytes)
        # A verdict is the reviewer's work, so that the consent of the reviewer's own key does not limit it.
        feedback = await STORE_WRITE_EXECUTOR.run(
            served_models.store.feedback.add, body.reference, body.content, consent=served_models.consent_policy.maximum
        )
        return FeedbackBody.of(feedback)

    @routes.get("/agreement")
    @requires("agent")
    async def list_agreement() -> AgreementList:
        """List the agreement of each two reviewers on the answers that both have rated."""
        agreements = await STORE_READ_EXECUTOR.run(served_models.store.review_queue.agreement)
        return AgreementList(data=[AgreementBody.of(agreement) for agreement in agreements])

    return routes
