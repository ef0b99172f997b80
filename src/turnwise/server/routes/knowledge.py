"""`/v1/knowledge`: knowledge bases, their documents, and search.

A key sees the documents that it uploaded and the shared ones. Every call names the tenant, so that none can forget it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from turnwise.core.errors import InvalidParameter, NotFound, did_you_mean
from turnwise.core.executors import TimeoutExecutor
from turnwise.core.knowledge_service import KnowledgeService, Upload
from turnwise.server.document_upload import FILE_BODY, received_document
from turnwise.server.error_responses import RequestRejected, truncate
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_tenant
from turnwise.server.route_roles import requires
from turnwise.server.schema.knowledge_bodies import (
    MAX_RESULTS_SPEC,
    DeletedDocument,
    DocumentBody,
    KnowledgeBaseBody,
    KnowledgeBaseList,
    KnowledgeSearchRequest,
    KnowledgeSearchResponse,
    PassageBody,
)
from turnwise.server.schema.list_page import ListPage, PageLimit
from turnwise.server.schema.metadata import metadata_filter
from turnwise.server.schema.request_body import read_body

PATH = "/v1/knowledge"
PARSE_SECONDS = 420.0  # longer than the parser's own limit, which reports the error
MAX_UPLOADS = 8  # documents that are received or parsed at the same time
MAX_UPLOADS_OF_TENANT = 3  # so that one key cannot take all
MAX_ID_DIGITS = 18

_SEARCH_EXECUTOR = TimeoutExecutor("knowledge base", 4, 30.0)
_PARSE_EXECUTOR = TimeoutExecutor("document parser", MAX_UPLOADS, PARSE_SECONDS)


def router(knowledge: Mapping[str, KnowledgeService], max_body_bytes: int, max_document_bytes: int) -> APIRouter:
    """Return the routes.

    Args:
        knowledge: knowledge bases by name.
        max_body_bytes: maximum size of a JSON body.
        max_document_bytes: maximum size of a document.
    """
    routes = APIRouter(tags=["knowledge"])
    uploads = _Uploads()

    @routes.get(PATH)
    @requires("user")
    async def list_knowledge_bases() -> KnowledgeBaseList:
        """List the knowledge bases that a chat completion can name as `knowledge`."""
        tenant = current_tenant()
        return KnowledgeBaseList(
            data=[
                KnowledgeBaseBody.of(name, await _SEARCH_EXECUTOR.run(base.status, tenant))
                for name, base in sorted(knowledge.items())
            ]
        )

    @routes.post(PATH + "/{name}/documents", openapi_extra=FILE_BODY)
    @requires("user")
    async def add_document(
        name: str,
        request: Request,
        filename: Annotated[str | None, Query(description="Name of the document; its suffix helps to read it.")] = None,
    ) -> DocumentBody:
        """Add a document, or replace this key's document of the same name. It can be found within seconds.

        The body is the document, or a form with one file. `metadata[key]=value` in the query sets its metadata.
        """
        base, tenant = _find(knowledge, name), current_tenant()
        metadata = metadata_filter(request.query_params)
        with uploads.slot(tenant):
            async with received_document(request, filename, max_document_bytes) as (path, source):
                upload = Upload(path, source, metadata)
                return DocumentBody.of(await _PARSE_EXECUTOR.run(base.add, upload, tenant))

    @routes.get(PATH + "/{name}/documents")
    @requires("user")
    async def list_documents(name: str, limit: PageLimit = 20, after: str | None = None) -> ListPage:
        """List the documents of this key and the shared ones, oldest first."""
        base = _find(knowledge, name)
        first = 0 if after is None else _read_id(after, "after")
        documents = await _SEARCH_EXECUTOR.run(base.documents, current_tenant(), limit + 1, first)
        bodies = [DocumentBody.of(document).model_dump() for document in documents]
        return ListPage.of(bodies[:limit], len(bodies) > limit)

    @routes.get(PATH + "/{name}/documents/{id}")
    @requires("user")
    async def get_document(name: str, id: str) -> DocumentBody:
        """Get a document of this key, or a shared one."""
        base = _find(knowledge, name)
        return DocumentBody.of(await _SEARCH_EXECUTOR.run(base.document, _read_id(id), current_tenant()))

    @routes.delete(PATH + "/{name}/documents/{id}")
    @requires("user")
    async def delete_document(name: str, id: str) -> DeletedDocument:
        """Delete a document of this key. From then on, no answer uses it."""
        base = _find(knowledge, name)
        await _SEARCH_EXECUTOR.run(base.delete, _read_id(id), current_tenant())
        return DeletedDocument(id=id)

    @routes.post(PATH + "/{name}/search", openapi_extra=json_request_body(KnowledgeSearchRequest))
    @requires("user")
    async def search(name: str, request: Request) -> KnowledgeSearchResponse:
        """Find passages in the documents of this key and in the shared ones."""
        base = _find(knowledge, name)
        body = await read_body(request, KnowledgeSearchRequest, max_body_bytes)
        k: Any = body.max_num_results or MAX_RESULTS_SPEC.default
        results = await _SEARCH_EXECUTOR.run(
            base.search, body.query, k, current_tenant(), body.filters or {}, body.mode
        )
        return KnowledgeSearchResponse(data=[PassageBody.of(result) for result in results])

    return routes


class _Uploads:
    """Counts the documents that are received or parsed. Used on the event loop only."""

    def __init__(self) -> None:
        self._active: Counter[str] = Counter()

    @contextmanager
    def slot(self, tenant: str) -> Iterator[None]:
        """Count one document. Raises `RequestRejected` (429) if there are too many."""
        if self._active.total() >= MAX_UPLOADS or (tenant and self._active[tenant] >= MAX_UPLOADS_OF_TENANT):
            raise RequestRejected(
                429, "rate_limit_exceeded", "Too many documents are being added at the same time. Try again soon.",
                error_type="rate_limit_error",
            )  # fmt: skip
        self._active[tenant] += 1
        try:
            yield
        finally:
            self._active[tenant] -= 1
            self._active += Counter()  # drop tenants without a document


def _find(knowledge: Mapping[str, KnowledgeService], name: str) -> KnowledgeService:
    if (base := knowledge.get(name)) is None:
        hint = did_you_mean(truncate(name), knowledge) if knowledge else "start the server with --knowledge NAME."
        raise NotFound(f"There is no knowledge base '{truncate(name)}'; {hint}")
    return base


def _read_id(id: str, field: str | None = None) -> int:
    """The number of a document. Raises `NotFound`, or `InvalidParameter` for a query field."""
    if id.isascii() and id.isdigit() and len(id) <= MAX_ID_DIGITS:
        return int(id)
    if field is not None:
        raise InvalidParameter(field, f"'{field}' must be the id of a document.")
    raise NotFound(f"There is no document '{truncate(id)}'.")
