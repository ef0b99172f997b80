"""`/v1/comparisons`: which of two answers a person prefers, and the scores of the models."""

from fastapi import APIRouter, Request

from turnwise.core.comparisons import ComparisonStore
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.comparison_bodies import (
    ComparisonBody,
    ComparisonCreate,
    DeletedComparison,
    PairScoreBody,
    PairScoreList,
)
from turnwise.server.schema.list_page import ListPage, PageLimit
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/comparisons", tags=["feedback"])

    def store() -> ComparisonStore:
        return served_models.store.comparisons

    @routes.get("")
    @requires("user")
    async def list_comparisons(limit: PageLimit = 20, after: str | None = None) -> ListPage:
        """List the comparisons of this API key, oldest first."""
        page, has_more = await STORE_READ_EXECUTOR.run(store().list, limit=limit, after=after)
        return ListPage.of([ComparisonBody.of(entry).model_dump() for entry in page], has_more)

    @routes.post("", openapi_extra=json_request_body(ComparisonCreate))
    @requires("user")
    async def create_comparison(request: Request) -> ComparisonBody:
        """Say which of two answers is better. They are choices of stored completions, or stored messages.

        With the consent "full", `turnwise improve` learns from it if both answers have the same messages before them.
        """
        body = await read_body(request, ComparisonCreate, max_body_bytes)
        consent = served_models.consent_policy.of_request(body.collect)
        comparison = await STORE_WRITE_EXECUTOR.run(store().add, body.content, consent=consent)
        return ComparisonBody.of(comparison)

    @routes.get("/scores")
    @requires("user")
    async def list_scores() -> PairScoreList:
        """List the scores of all pairs of models that this API key has compared."""
        scores = await STORE_READ_EXECUTOR.run(store().scores)
        return PairScoreList(data=[PairScoreBody.of(score) for score in scores])

    @routes.delete("/{id}")
    @requires("user")
    async def delete_comparison(id: str) -> DeletedComparison:
        """Delete a comparison of this API key."""
        await STORE_WRITE_EXECUTOR.run(store().delete, id)
        return DeletedComparison(id=id)

    return routes
