"""`/v1/datasets`: files of dialogues that administrators upload, look at, check and delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from turnwise.core.datasets import DatasetBrowser
from turnwise.core.errors import InvalidParameter, NotFound
from turnwise.core.executors import TimeoutExecutor
from turnwise.server.document_upload import FILE_BODY, received_document
from turnwise.server.error_responses import truncate
from turnwise.server.route_roles import requires
from turnwise.server.schema.dataset_bodies import (
    DatasetBody,
    DatasetCheckBody,
    DatasetList,
    DeletedDataset,
    DialogueList,
)

PATH = "/v1/datasets"
MAX_PAGE_ROWS = 100
MAX_OFFSET = 2**40
MAX_QUERY_CHARS = 1000

_READ_EXECUTOR = TimeoutExecutor("data sets", 4, 30.0)
_UPLOAD_EXECUTOR = TimeoutExecutor("upload of a data set", 2, 600.0)
Filename = Annotated[str | None, Query(description="Name of the data set; its suffix helps to read it.")]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Position of the first row, from 0.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS, description="Maximum number of rows.")]
SearchText = Annotated[
    str | None, Query(min_length=1, max_length=MAX_QUERY_CHARS, description="Only rows with this text, ignoring case.")
]
FindingKind = Annotated[str | None, Query(description="Only rows with this finding of the check, by its `kind`.")]


def router(datasets: DatasetBrowser | None, max_bytes: int) -> APIRouter:
    """Return the routes. Without a library the list is empty, and nothing can be added.

    Args:
        datasets: the data sets.
        max_bytes: maximum size of a data set.
    """
    routes = APIRouter(tags=["datasets"])

    def library() -> DatasetBrowser:
        if datasets is None:
            raise NotFound("This server has no data sets.")
        return datasets

    @routes.get(PATH)
    @requires("admin")
    async def list_datasets() -> DatasetList:
        """List the data sets."""
        listed = () if datasets is None else await _READ_EXECUTOR.run(datasets.datasets)
        return DatasetList(data=[DatasetBody.of(dataset) for dataset in listed])

    @routes.post(PATH, openapi_extra=FILE_BODY)
    @requires("admin")
    async def add_dataset(request: Request, filename: Filename = None) -> DatasetBody:
        """Add a data set. The body is the file, or a form with one file."""
        opened = library()
        async with received_document(request, filename, max_bytes) as (path, name):
            return DatasetBody.of(await _UPLOAD_EXECUTOR.run(opened.add, path, name))

    @routes.get(PATH + "/{name}")
    @requires("admin")
    async def get_dataset(name: str) -> DatasetBody:
        """Get a data set."""
        for dataset in await _READ_EXECUTOR.run(library().datasets):
            if dataset.name == name:
                return DatasetBody.of(dataset)
        raise NotFound(f"There is no data set '{truncate(name)}'.")

    @routes.delete(PATH + "/{name}")
    @requires("admin")
    async def delete_dataset(name: str) -> DeletedDataset:
        """Delete a data set. Trainings that have started keep what they have read."""
        await _READ_EXECUTOR.run(library().delete, name)
        return DeletedDataset(id=name)

    def read_dialogues(name: str, offset: int, limit: int, query: str | None, finding: str | None) -> Response:
        if query is not None:
            page = library().search(name, query, offset, limit)
        elif finding is not None:
            page = library().rows_of_finding(name, finding, offset, limit)
        else:
            page = library().page(name, offset, limit)
        # Encoded here: pages have megabytes, which would block the event loop.
        return Response(DialogueList.of(page).model_dump_json(), media_type="application/json")

    @routes.get(PATH + "/{name}/dialogues", responses={200: {"model": DialogueList}})
    @requires("admin")
    async def list_dialogues(
        name: str, offset: Offset = 0, limit: Limit = 20, query: SearchText = None, finding: FindingKind = None
    ) -> Response:
        """List rows of a data set, in the order of the file.

        A search takes at most two seconds; `next_offset` continues it. With `finding`, `offset` counts the rows that
        have it, of which the first thousand are listed.
        """
        library()
        if query is not None and finding is not None:
            raise InvalidParameter("finding", "'finding' and 'query' cannot be combined.")
        return await _READ_EXECUTOR.run(read_dialogues, name, offset, limit, query, finding)

    @routes.get(PATH + "/{name}/check")
    @requires("admin")
    async def get_check(name: str) -> DatasetCheckBody:
        """Get the check of a data set, which starts with the first request. Ask again while it is in progress."""
        return DatasetCheckBody.of(name, await _READ_EXECUTOR.run(library().check, name))

    return routes
