"""Export and import of conversations as files."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from turnwise.core.collected_answers import Consent
from turnwise.core.conversation_trees import ConversationFiles, ConversationTree, ExportFormat, ImportedConversations
from turnwise.core.errors import NotFound, Unavailable
from turnwise.core.executors import STORE_READ_EXECUTOR, STORE_WRITE_EXECUTOR, TimeoutExecutor
from turnwise.core.stored_conversations import ConversationStore
from turnwise.server.document_upload import received_document
from turnwise.server.error_responses import RequestRejected
from turnwise.server.imported_conversations import prepare_trees, split_into_batches
from turnwise.server.openapi import json_request_body
from turnwise.server.request_context import current_request
from turnwise.server.route_roles import requires
from turnwise.server.schema.conversation_request import ConversationExport
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.request_body import read_body
from turnwise.server.served_models import ServedModels

MAX_IMPORT_BYTES = 64 * 2**20
_MEDIA_TYPES: dict[ExportFormat, str] = {"jsonl": "application/jsonl", "markdown": "text/markdown; charset=utf-8"}
_PARSE_EXECUTOR = TimeoutExecutor("reader of imported files", 1, 120.0)
_FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ProblemBody(BaseModel):
    """A conversation that was not imported, and why."""

    position: str
    reason: str


class ImportReport(BaseModel):
    """What an import has done.

    `ids` are the new conversations in the order of the file, `known_ids` those that were there already. `num_omitted`
    counts parts that are not text. `problems` are conversations that were skipped.
    """

    object: Literal["conversation.import"] = "conversation.import"
    format: str
    ids: list[str]
    known_ids: list[str]
    num_messages: int
    num_omitted: int
    problems: list[ProblemBody]


def router(served_models: ServedModels, files: ConversationFiles | None, max_body_bytes: int) -> APIRouter:
    """Return the routes. Without `files`, they answer 404."""
    routes = APIRouter(prefix="/v1/conversations", tags=["conversations"])

    def find_files() -> ConversationFiles:
        if files is None:
            raise NotFound("This server neither exports nor imports conversations.")
        return files

    @routes.post(
        "/export", openapi_extra=json_request_body(ConversationExport), responses={200: {"content": {"*": {}}}}
    )
    @requires("user")
    async def export_conversations(request: Request) -> Response:
        """Write conversations as one file: JSONL with all branches, or Markdown of the branches that are shown."""
        body = await read_body(request, ConversationExport, max_body_bytes)
        store, writer = served_models.store, find_files()
        # All ids before the response starts: an unknown one is an error, and changes do not move the others.
        ids = await STORE_READ_EXECUTOR.run(store.list_ids, body.ids)
        texts = _write(store, writer, body.format, ids)
        return StreamingResponse(texts, media_type=_MEDIA_TYPES[body.format])

    @routes.post("/import", openapi_extra=_FILE_BODY)
    @requires("user")
    async def import_conversations(
        request: Request,
        filename: Annotated[str, Query(max_length=200, description="Name of the file, for messages.")] = "file",
        skip_invalid: Annotated[
            bool, Query(description="Import the others if some conversations are invalid.")
        ] = False,
        user: Annotated[
            str | None, Query(max_length=MAX_IDENTIFIER_CHARS, description="The person within the API key.")
        ] = None,
        collect: Annotated[
            Consent,
            Query(
                description="What may be collected of the messages. The strictest of this, the file and the key holds."
            ),
        ] = "off",
    ) -> ImportReport:
        """Import conversations of a JSON or JSONL file.

        Nothing is imported if a conversation is invalid, unless `skip_invalid` is set. Many conversations are stored
        in several transactions: after an error of the store (status 500 or 503), some of them may be stored; send the
        file again.

        Formats: exports of Turnwise, ChatGPT (`conversations.json`), Open WebUI and Claude; ShareGPT and OpenAI
        messages. A conversation that is here already is not added again.
        """
        store, reader = served_models.store, find_files()
        async with received_document(request, filename, MAX_IMPORT_BYTES) as (path, name):
            parsed = await _PARSE_EXECUTOR.run(reader.parse, path, name)
        consent = served_models.consent_policy.of_request(collect)
        trees, problems = await _PARSE_EXECUTOR.run(prepare_trees, parsed, name, consent)
        if problems and not skip_invalid:
            first = problems[0]
            others = f" {len(problems) - 1} others are invalid, too." if len(problems) > 1 else ""
            message = (
                f"{first.position}: {first.reason}.{others} Nothing was imported; 'skip_invalid' imports the rest."
            )
            raise RequestRejected(400, "invalid_conversations", message)
        meta: dict[str, Any] = {"imported": True}
        if user is not None:
            meta["user"] = current_request().user = user
        model = served_models.find("latest").name
        batches = [await _store_batch(store, batch, model, meta) for batch in split_into_batches(trees)]
        return ImportReport(
            format=parsed.format, ids=[id for batch in batches for id in batch.ids],
            known_ids=[id for batch in batches for id in batch.known_ids],
            num_messages=sum(batch.num_messages for batch in batches),
            num_omitted=sum(tree.num_omitted for tree in trees),
            problems=[ProblemBody(position=problem.position, reason=problem.reason) for problem in problems],
        )  # fmt: skip

    return routes


async def _store_batch(
    store: ConversationStore, batch: Sequence[ConversationTree], model: str, meta: Mapping[str, Any]
) -> ImportedConversations:
    """Store conversations in one transaction, and wait for its end once it runs: an error means that nothing is stored.

    Raises `Unavailable` if the transaction could not begin in time.
    """
    call = STORE_WRITE_EXECUTOR.submit(store.add_trees, batch, model=model, meta=meta)
    try:
        return await STORE_WRITE_EXECUTOR.result(call)
    except Unavailable:
        if call.cancel():
            raise
        return await asyncio.wrap_future(call)


async def _write(
    store: ConversationStore, files: ConversationFiles, format: ExportFormat, ids: Sequence[str]
) -> AsyncGenerator[str, None]:
    """Yield the text of every conversation. One that is deleted meanwhile is left out."""
    folders = {folder.id: folder.name for folder in await STORE_READ_EXECUTOR.run(store.folders.list)}

    def read(id: str) -> str | None:
        try:
            conversation = store.get(id)
        except NotFound:
            return None
        return files.write(conversation, folders.get(conversation.folder_id or "", ""), format)

    for id in ids:
        if (text := await STORE_READ_EXECUTOR.run(read, id)) is not None:
            yield text
