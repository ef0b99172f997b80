"""`/v1/conversations`: stored conversations."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.conversation_body import ConversationBody, ConversationWithMessages
from turnwise.server.schema.conversation_request import ConversationCreate, ConversationUpdate
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


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/conversations", tags=["conversations"])

    @routes.get("")
    @requires("user")
    async def list_conversations(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(description="Id of the conversation before the page.")] = None,
        query: Annotated[str, Query(max_length=1000, description="Text in the title or in a message.")] = "",
    ) -> ConversationList:
        """List conversations without their messages, last updated first."""
        conversations = await STORE_READ_EXECUTOR.run(
            served_models.store.list, limit=limit + 1, after=after, query=query
        )
        data = [ConversationBody.of(stored) for stored in conversations[:limit]]
        first_id, last_id = (data[0].id, data[-1].id) if data else (None, None)
        return ConversationList(data=data, first_id=first_id, last_id=last_id, has_more=len(conversations) > limit)

    @routes.post("", openapi_extra=json_request_body(ConversationCreate))
    @requires("user")
    async def create_conversation(request: Request) -> ConversationBody:
        """Create a conversation. Chat completions with its id are stored in it."""
        body = await read_body(request, ConversationCreate, max_body_bytes)
        model = served_models.find(body.model).name
        stored = await STORE_WRITE_EXECUTOR.run(served_models.store.create, title=body.title, model=model)
        return ConversationBody.of(stored)

    @routes.get("/{id}")
    @requires("user")
    async def get_conversation(
        id: str, tree: Annotated[bool, Query(description="Include the messages of all branches.")] = False
    ) -> ConversationWithMessages:
        """Get a conversation with the messages of the branch that is shown."""
        return ConversationWithMessages.of(await STORE_READ_EXECUTOR.run(served_models.store.get, id), tree=tree)

    @routes.patch("/{id}", openapi_extra=json_request_body(ConversationUpdate))
    @requires("user")
    async def update_conversation(id: str, request: Request) -> ConversationWithMessages:
        """Rename a conversation, or show another branch."""
        body = await read_body(request, ConversationUpdate, max_body_bytes)
        if body.head is not None:
            await STORE_WRITE_EXECUTOR.run(served_models.store.select_branch, id, body.head)
        if body.title is not None:
            await STORE_WRITE_EXECUTOR.run(served_models.store.rename, id, body.title)
        return ConversationWithMessages.of(await STORE_READ_EXECUTOR.run(served_models.store.get, id))

    @routes.delete("/{id}")
    @requires("user")
    async def delete_conversation(id: str) -> DeletedConversation:
        """Delete a conversation and its messages."""
        await STORE_WRITE_EXECUTOR.run(served_models.store.delete, id)
        return DeletedConversation(id=id)

    return routes
