"""Reading a JSON body: bounded, strict, and with errors that a person can act on."""

from collections.abc import Mapping
from email.message import Message as Header
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from turnwise.core.errors import InvalidParameter, TurnwiseError
from turnwise.server.error_responses import RequestRejected, truncate
from turnwise.server.request_context import current_request
from turnwise.server.schema.json_object import ignore_unknown_fields, join_path, read_object
from turnwise.server.schema.json_parser import MAX_INLINE_BYTES, parse_json_body

Model = TypeVar("Model", bound=BaseModel)

DEFAULT_MAX_BODY_BYTES = 4 * 2**20
_DISCARD_FACTOR = 8  # how many times the limit is read and thrown away, so that the client gets to read the refusal
MAX_IGNORED_FIELDS = 20  # unknown fields that the answer names; "..." stands for more


async def read(request: Request, model: type[Model], limit: int) -> Model:
    """The request's JSON body as a `model`.

    Raises:
        Refusal: 413 when it is longer than `limit` bytes (checked while it arrives), 415 when it is not JSON.
        InvalidBody: it is no JSON object, or holds more values than any request needs.
        InvalidParameter: a field is missing, out of bounds or, unless the server was told to let that pass, unknown.
    """
    return (await read_with_json(request, model, limit))[0]


async def read_with_json(request: Request, model: type[Model], limit: int) -> tuple[Model, dict[str, Any]]:
    """As `read`, with the body as it came."""
    _check_content_type(request.headers.get("content-type", ""))
    _check_content_encoding(request.headers.get("content-encoding", ""))
    data = await _read_bounded(request, limit)
    ignore = bool(request.app.state.ignore_unknown)
    if len(data) <= MAX_INLINE_BYTES:
        return _parse_and_validate(data, model, ignore)
    return await run_in_threadpool(_parse_and_validate, data, model, ignore)


def _parse_and_validate(data: bytes, model: type[Model], ignore_unknown: bool) -> tuple[Model, dict[str, Any]]:
    content = parse_json_body(data)
    with ignore_unknown_fields(ignore_unknown) as ignored:
        checked = validate(content, model)
    names = sorted(ignored)
    current_request().ignored = (
        (*names[:MAX_IGNORED_FIELDS], "...") if len(names) > MAX_IGNORED_FIELDS else tuple(names)
    )
    return checked, content


def validate(content: Mapping[str, Any], model: type[Model]) -> Model:
    """The fields of a body as a `model`. Raises `InvalidParameter`."""
    try:
        return model.model_validate(_fields(content, model, ""))
    except ValidationError as error:
        raise _first_error(error) from None


def _fields(value: Any, model: type[BaseModel], path: str) -> dict[str, Any]:
    """The fields of a body, or of an object in it: known ones only, and null only where the field is required."""
    fields = read_object(value, path, model.model_fields)
    for name, field in model.model_fields.items():
        if field.is_required() and name in value:
            fields.setdefault(name, None)
        nested = _nested_model(field.annotation)
        if nested is not None and isinstance(fields.get(name), dict):
            fields[name] = _fields(fields[name], nested, join_path(path, name))
    return fields


def _check_content_type(content_type: str) -> None:
    header = Header()
    header["content-type"] = content_type or "none/none"
    charset = header.get_content_charset("utf-8")
    if header.get_content_type() != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        message = f"The body must be sent as 'Content-Type: application/json' in UTF-8, not '{truncate(content_type)}'."
        raise RequestRejected(415, "unsupported_media_type", message)


def _check_content_encoding(content_encoding: str) -> None:
    if content_encoding.strip().lower() not in ("", "identity"):
        message = f"The body must be sent as it is, without 'Content-Encoding: {truncate(content_encoding)}'."
        raise RequestRejected(415, "unsupported_content_encoding", message)


async def _read_bounded(request: Request, limit: int) -> bytes:
    read, seen = bytearray(), 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen <= limit:
            read += chunk
        else:
            read.clear()
        if seen > limit * _DISCARD_FACTOR:
            break
    if seen > limit:
        raise RequestRejected(
            413, "body_too_large", f"The body is larger than the {limit:,} bytes that this server accepts."
        )
    return bytes(read)


def _first_error(error: ValidationError) -> TurnwiseError:
    """The first thing that is wrong, as a sentence; pydantic's own words speak to programmers."""
    first = min(error.errors(include_url=False), key=lambda e: e["type"] == "missing")
    ours = first.get("ctx", {}).get("error")
    if isinstance(ours, TurnwiseError):
        return ours
    name = truncate(".".join(str(step) for step in first["loc"])) or "body"
    code, sentence = _ERROR_MESSAGES.get(first["type"], ("invalid_value", truncate(first["msg"])))
    return InvalidParameter(name, f"'{name}' {sentence.format_map(first.get('ctx', {}))}.", code=code)


_ERROR_MESSAGES = {
    "missing": ("missing_required_parameter", "is required"),
    "bool_type": ("invalid_type", "must be true or false"),
    "string_type": ("invalid_type", "must be a string"),
    "model_type": ("invalid_type", "must be an object"),
    "model_attributes_type": ("invalid_type", "must be an object"),
    "dict_type": ("invalid_type", "must be an object"),
    "string_too_long": ("invalid_value", "may have at most {max_length} characters"),
    "string_too_short": ("invalid_value", "must have at least {min_length} character"),
}


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    """The model that the annotation of a field mentions."""
    kinds = (annotation, *getattr(annotation, "__args__", ()))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
