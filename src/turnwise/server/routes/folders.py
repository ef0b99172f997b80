"""`/v1/folders`: folders of conversations."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR
from turnwise.server.openapi import json_request_body
from turnwise.server.route_roles import requires
from turnwise.server.schema.conversation_body import FolderBody
from turnwise.server.schema.conversation_request import FolderRequest
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels


class FolderList(BaseModel):
    """All folders, by name."""

    object: Literal["list"] = "list"
    data: list[FolderBody]


class DeletedFolder(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["conversation.folder.deleted"] = "conversation.folder.deleted"
    deleted: Literal[True] = True


def router(served_models: ServedModels, max_body_bytes: int) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/folders", tags=["conversations"])

    @routes.get("")
    @requires("user")
    async def list_folders() -> FolderList:
        """List the folders with their numbers of conversations."""
        folders = await STORE_READ_EXECUTOR.run(served_models.store.folders.list)
        return FolderList(data=[FolderBody.of(folder) for folder in folders])

    @routes.post("", openapi_extra=json_request_body(FolderRequest))
    @requires("user")
    async def create_folder(request: Request) -> FolderBody:
        """Create a folder."""
        body = await read_body(request, FolderRequest, max_body_bytes)
        return FolderBody.of(await STORE_WRITE_EXECUTOR.run(served_models.store.folders.create, body.name))

    @routes.patch("/{id}", openapi_extra=json_request_body(FolderRequest))
    @requires("user")
    async def rename_folder(id: str, request: Request) -> FolderBody:
        """Rename a folder."""
        body = await read_body(request, FolderRequest, max_body_bytes)
        return FolderBody.of(await STORE_WRITE_EXECUTOR.run(served_models.store.folders.rename, id, body.name))

    @routes.delete("/{id}")
    @requires("user")
    async def delete_folder(id: str) -> DeletedFolder:
        """Delete a folder. Its conversations stay."""
        await STORE_WRITE_EXECUTOR.run(served_models.store.folders.delete, id)
        return DeletedFolder(id=id)

    return routes
