"""`/v1/conversations`: what the store remembers. Its calls run in threads: a slow disk must not stall the streams."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from turnwise.server import body
from turnwise.server.answers import ConversationBody
from turnwise.server.openapi import json_body
from turnwise.server.protocol import ChangedConversation, NewConversation
from turnwise.server.served import Served


class ConversationList(BaseModel):
    """The latest conversations, newest first, without their messages."""

    object: Literal["list"] = "list"
    data: list[ConversationBody]


class Deleted(BaseModel):
    """A conversation that is no more."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: Literal[True] = True


def router(served: Served, limit: int) -> APIRouter:
    """The conversation routes over `served`; bodies may be `limit` bytes long."""
    routes = APIRouter(prefix="/v1/conversations", tags=["conversations"])

    @routes.get("", response_model_exclude_none=True)
    def list_conversations(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> ConversationList:
        """The latest conversations, newest first, without their messages."""
        return ConversationList(data=[ConversationBody.of(kept) for kept in served.store.list(limit=limit)])

    @routes.post("", response_model_exclude_none=True, openapi_extra=json_body(NewConversation))
    async def create_conversation(request: Request) -> ConversationBody:
        """Begin a conversation; completions with its id are kept in it."""
        new = await body.read(request, NewConversation, limit)
        name = served.find(new.model).name
        kept = await run_in_threadpool(served.store.create, title=new.title, model=name)
        return ConversationBody.of(kept)

    @routes.get("/{id}")
    def get_conversation(id: str) -> ConversationBody:
        """One conversation with its messages."""
        return ConversationBody.of(served.store.get(id), messages=True)

    @routes.patch("/{id}", openapi_extra=json_body(ChangedConversation))
    async def change_conversation(id: str, request: Request) -> ConversationBody:
        """Give a conversation another title."""
        changed = await body.read(request, ChangedConversation, limit)
        await run_in_threadpool(served.store.rename, id, changed.title)
        return ConversationBody.of(await run_in_threadpool(served.store.get, id), messages=True)

    @routes.delete("/{id}")
    def delete_conversation(id: str) -> Deleted:
        """Forget a conversation and its messages."""
        served.store.delete(id)
        return Deleted(id=id)

    return routes
