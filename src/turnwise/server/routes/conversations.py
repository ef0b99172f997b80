"""`/v1/conversations`: stored conversations."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.server.background_answers import BackgroundAnswers
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.conversation_body import (
    ConversationBody,
    ConversationWithMessages,
    ConversationWithSettings,
    RunningAnswerBody,
)
from turnwise.server.schema.conversation_request import ConversationCreate, ConversationFork, ConversationUpdate
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels


class ConversationList(BaseModel):
    """A page of conversations. `after` with `last_id` requests the next page."""

    object: Literal["list"] = "list"
    data: list[ConversationBody]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedConversation(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: Literal[True] = True


def router(served_models: ServedModels, max_body_bytes: int, background: BackgroundAnswers) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/conversations", tags=["conversations"])

    @routes.get("")
    @requires("user")
    async def list_conversations(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(description="Id of the conversation before the page.")] = None,
        query: Annotated[str, Query(max_length=1000, description="Text in the title or in a message.")] = "",
        pinned: Annotated[bool | None, Query(description="Pinned ones, or the others.")] = None,
        folder: Annotated[
            str | None, Query(max_length=100, description='Id of a folder; "" for those outside of folders.')
        ] = None,
    ) -> ConversationList:
        """List conversations without their messages, last updated first."""
        conversations = await STORE_READ_EXECUTOR.run(
            served_models.store.list, limit=limit + 1, after=after, query=query, is_pinned=pinned, folder_id=folder
        )
        data = [ConversationBody.of(stored) for stored in conversations[:limit]]
        first_id, last_id = (data[0].id, data[-1].id) if data else (None, None)
        return ConversationList(data=data, first_id=first_id, last_id=last_id, has_more=len(conversations) > limit)

    @routes.post("", openapi_extra=json_request_body(ConversationCreate))
    @requires("user")
    async def create_conversation(request: Request) -> ConversationWithSettings:
        """Create a conversation. Chat completions with its id are stored in it."""
        body = await read_body(request, ConversationCreate, max_body_bytes)
        stored = await STORE_WRITE_EXECUTOR.run(
            served_models.store.create, title=body.title, model=served_models.find(body.model).name,
            title_source="first_words" if body.auto_title else "user", folder_id=body.folder_id,
            settings=None if body.settings is None else body.settings.as_dict(),
        )  # fmt: skip
        return ConversationWithSettings.of(stored)

    async def read_conversation(id: str, *, tree: bool = False) -> ConversationWithMessages:
        # The answers first: one that ends in between is complete in the store.
        running = background.running(id)
        stored = await STORE_READ_EXECUTOR.run(served_models.store.get, id)
        answers = [RunningAnswerBody(id=answer.id, after=answer.position(stored.messages)) for answer in running]
        return ConversationWithMessages.of(stored, answers, tree=tree)

    @routes.get("/{id}")
    @requires("user")
    async def get_conversation(
        id: str, tree: Annotated[bool, Query(description="Include the messages of all branches.")] = False
    ) -> ConversationWithMessages:
        """Get a conversation with the messages of the branch that is shown."""
        return await read_conversation(id, tree=tree)

    @routes.patch("/{id}", openapi_extra=json_request_body(ConversationUpdate))
    @requires("user")
    async def update_conversation(id: str, request: Request) -> ConversationWithMessages:
        """Change title, pin, folder or settings of a conversation, or show another branch."""
        body = await read_body(request, ConversationUpdate, max_body_bytes)
        await STORE_WRITE_EXECUTOR.run(served_models.store.update, id, body.changes)
        return await read_conversation(id)

    @routes.post("/{id}/fork", openapi_extra=json_request_body(ConversationFork))
    @requires("user")
    async def fork_conversation(id: str, request: Request) -> ConversationWithSettings:
        """Copy the branch that ends with a message to a new conversation."""
        body = await read_body(request, ConversationFork, max_body_bytes)
        title = body.title or (await STORE_READ_EXECUTOR.run(served_models.store.get, id)).title
        fork = await STORE_WRITE_EXECUTOR.run(served_models.store.fork, id, body.message_id, title)
        return ConversationWithSettings.of(fork)

    @routes.delete("/{id}")
    @requires("user")
    async def delete_conversation(id: str) -> DeletedConversation:
        """Delete a conversation and its messages. Answers that are being generated in it are stopped."""
        await STORE_WRITE_EXECUTOR.run(served_models.store.delete, id)
        await background.cancel_conversation(id)
        return DeletedConversation(id=id)

    return routes
