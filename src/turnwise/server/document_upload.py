"""Receives a document or a data set into a temporary file: as the bytes of the body, or as a file of a form."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email.message import Message as Header
from pathlib import Path, PurePosixPath
from typing import IO

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from turnwise.core.errors import InvalidParameter
from turnwise.server.error_responses import RequestRejected, truncate
from turnwise.server.schema.json_object import missing_field

DEFAULT_MAX_DOCUMENT_BYTES = 32 * 2**20
DEFAULT_MAX_DATASET_BYTES = 2**30
MAX_FILENAME_CHARS = 200
WRITE_BYTES = 2**20  # collected before a write, which runs in a thread
FORM_FIELD = "file"
FORM_OVERHEAD_BYTES = 2**16  # of a form, besides the file
DISCARD_FACTOR = 4
_MULTIPART = "multipart/form-data"
_BINARY = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "properties": {FORM_FIELD: _BINARY}, "required": [FORM_FIELD]}
# OpenAPI description of the body of a route that receives a document.
FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": _BINARY}, _MULTIPART: {"schema": _FORM}},
    }
}


@asynccontextmanager
async def received_document(request: Request, filename: str | None, max_bytes: int) -> AsyncGenerator[tuple[Path, str]]:
    """Receive the document of a request; yields its temporary file and its name. The file is deleted afterwards.

    Args:
        request: the request.
        filename: name of the document in the query; None: that of the form.
        max_bytes: maximum size of the document.

    Raises:
        InvalidParameter: the name is missing or invalid, or the form has not exactly one file.
        RequestRejected: the document is too large (413), or the body cannot be read as a form (400, 415).
    """
    with tempfile.NamedTemporaryFile(prefix="turnwise-upload-") as file:
        header = Header()
        header["content-type"] = request.headers.get("content-type", "") or "none/none"
        if header.get_content_type() == _MULTIPART:
            form_filename = await _receive_form(_bounded(request, max_bytes + FORM_OVERHEAD_BYTES), file)
            filename = filename or form_filename
        else:
            await _receive_body(_bounded(request, max_bytes), file)
        name = _check_name(filename)
        await asyncio.to_thread(file.flush)
        yield Path(file.name), name


async def _receive_body(request: Request, file: IO[bytes]) -> None:
    buffer = bytearray()
    is_empty = True
    async for chunk in request.stream():
        buffer += chunk
        is_empty &= not chunk
        if len(buffer) >= WRITE_BYTES:
            await asyncio.to_thread(file.write, buffer)
            buffer = bytearray()
    if is_empty:
        raise missing_field("body")
    await asyncio.to_thread(file.write, buffer)


async def _receive_form(request: Request, file: IO[bytes]) -> str | None:
    """Copy the file of a form; returns its name."""
    try:
        import python_multipart  # noqa: F401  # starlette reads forms with it
    except ModuleNotFoundError as error:
        message = (
            "Forms need python-multipart: pip install 'turnwise[knowledge]'. Without it, send the document as the "
            "body, with ?filename=NAME."
        )
        raise RequestRejected(415, "unsupported_media_type", message) from error
    try:
        async with request.form(max_files=1, max_fields=0) as form:
            upload = form.get(FORM_FIELD)
            if not isinstance(upload, UploadFile):
                raise missing_field(FORM_FIELD)
            while content := await upload.read(WRITE_BYTES):
                await asyncio.to_thread(file.write, content)
            return upload.filename
    except HTTPException as error:  # of starlette, for a form that is malformed or has something else
        message = f"The form cannot be read: it takes one file, named '{FORM_FIELD}', and nothing else."
        raise RequestRejected(400, "invalid_body", message) from error


def _bounded(request: Request, max_bytes: int) -> Request:
    """The same request, whose body raises `RequestRejected` if it is larger.

    The rest of a larger body is read up to a limit, because a client that is still sending would not read the error.
    """
    num_bytes = 0

    async def receive() -> Message:
        nonlocal num_bytes
        message = await request.receive()
        num_bytes += len(message.get("body", b""))
        if num_bytes <= max_bytes:
            return message
        while message.get("more_body", False) and num_bytes <= max_bytes * DISCARD_FACTOR:
            message = await request.receive()
            num_bytes += len(message.get("body", b""))
        text = f"The file is larger than the {max_bytes:,} bytes that this server accepts. Divide it."
        raise RequestRejected(413, "body_too_large", text)

    return Request(request.scope, receive)


def _check_name(filename: str | None) -> str:
    """The last component of a file name. Raises `InvalidParameter`."""
    if not filename:
        raise InvalidParameter(
            "filename", "'filename' is required: send ?filename=handbook.pdf, or a form whose file has a name.",
            code="missing_required_parameter",
        )  # fmt: skip
    name = PurePosixPath(filename.replace("\\", "/")).name
    if not name or not name.isprintable() or len(name) > MAX_FILENAME_CHARS:
        raise InvalidParameter(
            "filename",
            f"'filename' must have 1 to {MAX_FILENAME_CHARS} printable characters, not '{truncate(filename)}'.",
        )
    return name
