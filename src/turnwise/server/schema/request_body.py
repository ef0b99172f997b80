"""Reads JSON bodies: bounded in size, strictly validated, with errors that name the field."""

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
MAX_IGNORED_FIELDS = 20  # unknown fields that the response header lists; "..." stands for more
# The body is read up to this multiple of the limit, because a client that is still sending would not read the error.
_DISCARD_FACTOR = 8


async def read_body(request: Request, model: type[Model], max_bytes: int) -> Model:
    """Return the JSON body of a request as a `model`.

    Raises:
        RequestRejected: 413 (more than `max_bytes`) or 415 (not JSON, or compressed).
        InvalidBody: not a JSON object, or more values than `json_parser` allows.
        InvalidParameter: a field is missing, invalid, or unknown (unless the server ignores unknown fields).
    """
    return (await read_body_with_json(request, model, max_bytes))[0]


async def read_body_with_json(request: Request, model: type[Model], max_bytes: int) -> tuple[Model, dict[str, Any]]:
    """Return the body as a `model` and as JSON. Raises as `read_body` does."""
    _check_content_type(request.headers.get("content-type", ""))
    _check_content_encoding(request.headers.get("content-encoding", ""))
    data = await _read_bounded(request, max_bytes)
    ignore_unknown = bool(request.app.state.ignore_unknown)
    if len(data) <= MAX_INLINE_BYTES:
        return _parse_and_validate(data, model, ignore_unknown)
    return await run_in_threadpool(_parse_and_validate, data, model, ignore_unknown)


def _parse_and_validate(data: bytes, model: type[Model], ignore_unknown: bool) -> tuple[Model, dict[str, Any]]:
    content = parse_json_body(data)
    with ignore_unknown_fields(ignore_unknown) as ignored_paths:
        body = validate(content, model)
    paths = sorted(ignored_paths)
    is_too_long = len(paths) > MAX_IGNORED_FIELDS
    current_request().ignored = (*paths[:MAX_IGNORED_FIELDS], "...") if is_too_long else tuple(paths)
    return body, content


def validate(content: Mapping[str, Any], model: type[Model]) -> Model:
    """Return parsed JSON as a `model`. Raises `InvalidParameter`."""
    try:
        return model.model_validate(_drop_nulls(content, model, ""))
    except ValidationError as error:
        raise _first_error(error) from None


def _drop_nulls(value: Any, model: type[BaseModel], path: str) -> dict[str, Any]:
    """The fields of an object without nulls, except for required fields. Raises `InvalidParameter` for unknown ones."""
    fields = read_object(value, path, model.model_fields)
    for name, field in model.model_fields.items():
        if field.is_required() and name in value:
            fields.setdefault(name, None)
        nested = _nested_model(field.annotation)
        if nested is not None and isinstance(fields.get(name), dict):
            fields[name] = _drop_nulls(fields[name], nested, join_path(path, name))
    return fields


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    """The first pydantic model in the annotation of a field."""
    types = (annotation, *getattr(annotation, "__args__", ()))
    return next((entry for entry in types if isinstance(entry, type) and issubclass(entry, BaseModel)), None)


def _check_content_type(content_type: str) -> None:
    header = Header()
    header["content-type"] = content_type or "none/none"
    charset = header.get_content_charset("utf-8")
    if header.get_content_type() != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        message = f"The body must be sent as 'Content-Type: application/json' in UTF-8, not '{truncate(content_type)}'."
        raise RequestRejected(415, "unsupported_media_type", message)


def _check_content_encoding(content_encoding: str) -> None:
    if content_encoding.strip().lower() not in ("", "identity"):
        message = f"The body must be sent uncompressed, without 'Content-Encoding: {truncate(content_encoding)}'."
        raise RequestRejected(415, "unsupported_content_encoding", message)


async def _read_bounded(request: Request, max_bytes: int) -> bytes:
    body, num_bytes = bytearray(), 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes <= max_bytes:
            body += chunk
        else:
            body.clear()
        if num_bytes > max_bytes * _DISCARD_FACTOR:
            break
    if num_bytes > max_bytes:
        message = f"The body is larger than the {max_bytes:,} bytes that this server accepts."
        raise RequestRejected(413, "body_too_large", message)
    return bytes(body)


def _first_error(error: ValidationError) -> TurnwiseError:
    """The first validation error as our error. Missing fields come last: another error is more specific."""
    first = min(error.errors(include_url=False), key=lambda entry: entry["type"] == "missing")
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, TurnwiseError):
        return cause
    name = truncate(".".join(str(step) for step in first["loc"])) or "body"
    code, requirement = _ERROR_MESSAGES.get(first["type"], ("invalid_value", truncate(first["msg"])))
    values = {**first.get("ctx", {})}
    limit = values.get("min_length", values.get("max_length"))
    values["characters"] = "1 character" if limit == 1 else f"{limit} characters"
    return InvalidParameter(name, f"'{name}' {requirement.format_map(values)}.", code=code)


# Code and requirement by pydantic's error type.
_ERROR_MESSAGES = {
    "missing": ("missing_required_parameter", "is required"),
    "bool_type": ("invalid_type", "must be true or false"),
    "string_type": ("invalid_type", "must be a string"),
    "model_type": ("invalid_type", "must be an object"),
    "model_attributes_type": ("invalid_type", "must be an object"),
    "dict_type": ("invalid_type", "must be an object"),
    "string_too_long": ("invalid_value", "may have at most {characters}"),
    "string_too_short": ("invalid_value", "must have at least {characters}"),
}
