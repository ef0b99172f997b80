"""`/v1/chat/completions/…`: stored chat completions."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, WithJsonSchema

from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.stored_completions import CompletionStore, SortOrder, StoredCompletion
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.list_page import ListPage, PageLimit
from turnwise.server.schema.metadata import METADATA_SCHEMA, metadata_filter, read_metadata
from turnwise.server.schema.request_body import read_body
from turnwise.server.schema.request_field import RequestBody
from turnwise.server.served_models import ServedModels

PATH = "/v1/chat/completions"


class StoredCompletionUpdate(RequestBody):
    """New metadata of a stored completion; replaces the old metadata."""

    metadata: Annotated[Any, BeforeValidator(read_metadata), WithJsonSchema(METADATA_SCHEMA)]


class DeletedCompletion(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    deleted: Literal[True] = True


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["stored completions"])

    def store() -> CompletionStore:
        return served_models.store.completions

    @routes.get(PATH)
    @requires("user")
    async def list_completions(
        request: Request,
        limit: PageLimit = 20,
        after: str | None = None,
        order: SortOrder = "asc",
        model: str | None = None,
    ) -> ListPage:
        """List stored completions by time. `metadata[key]=value` filters by metadata."""
        metadata = metadata_filter(request.query_params)
        completions, has_more = await STORE_READ_EXECUTOR.run(
            store().list, limit=limit, after=after, order=order, model=model, metadata=metadata
        )
        return ListPage.of([_completion_body(completion) for completion in completions], has_more)

    @routes.get(PATH + "/{id}")
    @requires("user")
    async def get_completion(id: str) -> dict[str, Any]:
        """Get a stored completion."""
        return _completion_body(await STORE_READ_EXECUTOR.run(store().get, id))

    @routes.post(PATH + "/{id}", openapi_extra=json_request_body(StoredCompletionUpdate))
    @requires("user")
    async def update_completion(id: str, request: Request) -> dict[str, Any]:
        """Replace the metadata of a stored completion."""
        body = await read_body(request, StoredCompletionUpdate, max_body_bytes)
        metadata = body.metadata or {}
        return _completion_body(await STORE_WRITE_EXECUTOR.run(store().update_metadata, id, metadata))

    @routes.delete(PATH + "/{id}")
    @requires("user")
    async def delete_completion(id: str) -> DeletedCompletion:
        """Delete a stored completion and its feedback."""
        await STORE_WRITE_EXECUTOR.run(store().delete, id)
        return DeletedCompletion(id=id)

    @routes.get(PATH + "/{id}/messages")
    @requires("user")
    async def list_messages(
        id: str, limit: PageLimit = 20, after: str | None = None, order: SortOrder = "asc"
    ) -> ListPage:
        """List the messages of the request of a stored completion."""
        messages = (await STORE_READ_EXECUTOR.run(store().get, id)).messages
        entries = [{"id": f"{id}-{i}", **message} for i, message in enumerate(messages)]
        return ListPage.paginate(entries, id, limit, after, order)

    return routes


def _completion_body(completion: StoredCompletion) -> dict[str, Any]:
    """A stored completion: the response as it was sent, with the fields of the request."""
    return {**completion.request, **completion.response, "metadata": dict(completion.metadata)}
