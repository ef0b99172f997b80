"""Stored completions, and what people thought of them: `/v1/chat/completions/…` and `/v1/feedback`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, BeforeValidator, Field, StrictInt, StrictStr, WithJsonSchema, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.core.stored_completions import CompletionStore, Feedback, SortOrder, StoredCompletion
from turnwise.server.openapi import json_request_body
from turnwise.server.schema import request_body as body
from turnwise.server.schema.chat_completion_request import RequestBody
from turnwise.server.schema.metadata import SCHEMA as METADATA_SCHEMA
from turnwise.server.schema.metadata import metadata_filter, read_metadata
from turnwise.server.served_models import ServedModels

MAX_FEEDBACK_CHARS = 100_000  # characters of a correction or a comment
RATINGS = {"up": 1, "down": -1}


class StoredCompletionUpdate(RequestBody):
    """What may be changed of a stored completion: its metadata, as a whole."""

    metadata: Annotated[Any, BeforeValidator(read_metadata), WithJsonSchema(METADATA_SCHEMA)]


class FeedbackCreate(RequestBody):
    """What somebody thought of a stored completion: at least one of rating, correction and comment."""

    completion_id: Annotated[StrictStr, Field(min_length=1, max_length=100)]
    index: Annotated[StrictInt, Field(ge=0, description="Which of its answers.")] = 0
    rating: Annotated[Literal["up", "down"] | None, Field(description="Thumbs up or down.")] = None
    correction: Annotated[
        StrictStr | None,
        Field(min_length=1, max_length=MAX_FEEDBACK_CHARS, description="What the answer should have been."),
    ] = None
    comment: Annotated[StrictStr | None, Field(min_length=1, max_length=MAX_FEEDBACK_CHARS)] = None
    user: Annotated[StrictStr | None, Field(max_length=512, description="Who says so, as you call them.")] = None

    @model_validator(mode="after")
    def _something(self) -> "FeedbackCreate":
        if self.rating is None and self.correction is None and self.comment is None:
            raise InvalidParameter("rating", "Feedback says nothing without a 'rating', a 'correction' or a 'comment'.")
        return self


class FeedbackBody(BaseModel):
    """Feedback as it was kept."""

    id: str
    object: Literal["chat.completion.feedback"] = "chat.completion.feedback"
    completion_id: str
    index: int
    created: float
    rating: Literal["up", "down"] | None
    correction: str | None
    comment: str | None
    user: str | None

    @classmethod
    def of(cls, kept: Feedback) -> "FeedbackBody":
        """As JSON."""
        rating: Literal["up", "down"] | None = None if kept.rating is None else "up" if kept.rating > 0 else "down"
        return cls(
            id=kept.id, completion_id=kept.completion_id, index=kept.index, created=kept.created, rating=rating,
            correction=kept.correction, comment=kept.comment, user=kept.user,
        )  # fmt: skip


class ListPage(BaseModel):
    """A part of a list; `after` with `last_id` gets the next one."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, entries: list[dict[str, Any]], more: bool) -> "ListPage":
        """Entries with their ids."""
        ids = [entry["id"] for entry in entries] or [None]
        return cls(data=entries, first_id=ids[0], last_id=ids[-1], has_more=more)

    @classmethod
    def after(
        cls, entries: list[dict[str, Any]], parent: str, limit: int, after: str | None, order: SortOrder
    ) -> "ListPage":
        """A page of all `entries` of `parent`, which are in order of time. Raises `InvalidParameter`."""
        if order == "desc":
            entries = entries[::-1]
        if after is not None:
            ids = [entry["id"] for entry in entries]
            if after not in ids:
                raise InvalidParameter("after", f"'after' names no entry of '{parent[:60]}'.")
            entries = entries[ids.index(after) + 1 :]
        return cls.of(entries[:limit], len(entries) > limit)


class DeletedCompletion(BaseModel):
    """A stored completion that is no more."""

    id: str
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    deleted: Literal[True] = True


Limit = Annotated[int, Query(ge=1, le=100)]


def router(served_models: ServedModels, limit: int) -> APIRouter:
    """The routes over `served`'s store; bodies may be `limit` bytes long."""
    routes = APIRouter(tags=["stored completions"])
    stored = "/v1/chat/completions"

    def store() -> CompletionStore:
        return served_models.store.completions

    @routes.get(stored)
    async def list_completions(
        request: Request,
        limit: Limit = 20,
        after: str | None = None,
        order: SortOrder = "asc",
        model: str | None = None,
    ) -> ListPage:
        """Stored completions by time; `metadata[key]=value` narrows them down."""
        metadata = metadata_filter(request.query_params)
        page, more = await STORE_READ_EXECUTOR.run(
            store().list, limit=limit, after=after, order=order, model=model, metadata=metadata
        )
        return ListPage.of([_completion(kept) for kept in page], more)

    @routes.get(stored + "/{id}")
    async def get_completion(id: str) -> dict[str, Any]:
        """One stored completion."""
        return _completion(await STORE_READ_EXECUTOR.run(store().get, id))

    @routes.post(stored + "/{id}", openapi_extra=json_request_body(StoredCompletionUpdate))
    async def change_completion(id: str, request: Request) -> dict[str, Any]:
        """Give a stored completion other metadata."""
        changed = await body.read(request, StoredCompletionUpdate, limit)
        return _completion(await STORE_WRITE_EXECUTOR.run(store().update_metadata, id, changed.metadata or {}))

    @routes.delete(stored + "/{id}")
    async def delete_completion(id: str) -> DeletedCompletion:
        """Forget a stored completion and what was thought of it."""
        await STORE_WRITE_EXECUTOR.run(store().delete, id)
        return DeletedCompletion(id=id)

    @routes.get(stored + "/{id}/messages")
    async def list_messages(id: str, limit: Limit = 20, after: str | None = None, order: SortOrder = "asc") -> ListPage:
        """The messages that a stored completion answered."""
        messages = (await STORE_READ_EXECUTOR.run(store().get, id)).messages
        entries = [{"id": f"{id}-{i}", **message} for i, message in enumerate(messages)]
        return ListPage.after(entries, id, limit, after, order)

    @routes.get(stored + "/{id}/feedback")
    async def list_feedback(id: str) -> list[FeedbackBody]:
        """All feedback on a stored completion, oldest first."""
        return [FeedbackBody.of(kept) for kept in await STORE_READ_EXECUTOR.run(store().list_feedback, id)]

    @routes.post("/v1/feedback", openapi_extra=json_request_body(FeedbackCreate))
    async def give_feedback(request: Request) -> FeedbackBody:
        """Say what you think of a stored completion."""
        said = await body.read(request, FeedbackCreate, limit)
        kept = await STORE_READ_EXECUTOR.run(store().get, said.completion_id)
        if said.index >= len(kept.response["choices"]):
            raise InvalidParameter(
                "index", f"'index' is {said.index}; the answers end at {len(kept.response['choices']) - 1}."
            )
        feedback = await STORE_WRITE_EXECUTOR.run(
            store().add_feedback, said.completion_id, index=said.index, rating=said.rating and RATINGS[said.rating],
            correction=said.correction, comment=said.comment, user=said.user,
        )  # fmt: skip
        return FeedbackBody.of(feedback)

    return routes


def _completion(kept: StoredCompletion) -> dict[str, Any]:
    """A stored completion in the published shape: the answer as it was sent, with what was asked for."""
    return {**kept.request, **kept.response, "metadata": dict(kept.metadata)}
