"""`/v1/conversations`: the stored conversations. The store is called outside the event loop, with a time limit."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.server.openapi import json_request_body
from turnwise.server.schema import request_body as body
from turnwise.server.schema.chat_completion_request import ConversationCreate, ConversationUpdate
from turnwise.server.schema.chat_completion_response import ConversationBody, ConversationWithMessages
from turnwise.server.served_models import ServedModels


class ConversationList(BaseModel):
    """Conversations without their messages, the last changed first; `after` with `last_id` gets the next ones."""

    object: Literal["list"] = "list"
    data: list[ConversationBody]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedConversation(BaseModel):
    """A conversation that is no more."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: Literal[True] = True


def router(served_models: ServedModels, limit: int) -> APIRouter:
    """The conversation routes over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(prefix="/v1/conversations", tags=["conversations"])

    @routes.get("")
    async def list_conversations(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(description="Go on after this conversation.")] = None,
        query: Annotated[
            str, Query(max_length=1000, description="Only those with this text in the title or in a message.")
        ] = "",
    ) -> ConversationList:
        """Conversations without their messages, the last changed first."""
        page = await STORE_READ_EXECUTOR.run(served_models.store.list, limit=limit + 1, after=after, query=query)
        data = [ConversationBody.of(stored) for stored in page[:limit]]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return ConversationList(data=data, first_id=first, last_id=last, has_more=len(page) > limit)

    @routes.post("", openapi_extra=json_request_body(ConversationCreate))
    async def create_conversation(request: Request) -> ConversationBody:
        """Begin a conversation; completions with its id are kept in it."""
        new = await body.read(request, ConversationCreate, limit)
        name = served_models.find(new.model).name
        return ConversationBody.of(
            await STORE_WRITE_EXECUTOR.run(served_models.store.create, title=new.title, model=name)
        )

    @routes.get("/{id}")
    async def get_conversation(
        id: str, tree: Annotated[bool, Query(description="Add the messages of all branches.")] = False
    ) -> ConversationWithMessages:
        """One conversation with the messages of the branch that is shown."""
        return ConversationWithMessages.of(await STORE_READ_EXECUTOR.run(served_models.store.get, id), tree=tree)

    @routes.patch("/{id}", openapi_extra=json_request_body(ConversationUpdate))
    async def change_conversation(id: str, request: Request) -> ConversationWithMessages:
        """Give a conversation another title, or show another of its branches."""
        changed = await body.read(request, ConversationUpdate, limit)
        if changed.head is not None:
            await STORE_WRITE_EXECUTOR.run(served_models.store.select_branch, id, changed.head)
        if changed.title is not None:
            await STORE_WRITE_EXECUTOR.run(served_models.store.rename, id, changed.title)
        return ConversationWithMessages.of(await STORE_READ_EXECUTOR.run(served_models.store.get, id))

    @routes.delete("/{id}")
    async def delete_conversation(id: str) -> DeletedConversation:
        """Delete a conversation and its messages."""
        await STORE_WRITE_EXECUTOR.run(served_models.store.delete, id)
        return DeletedConversation(id=id)

    return routes
