"""Reading a JSON body: bounded, strict, and with errors that a person can act on."""

import json
import re
from email.message import Message as Header
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from turnwise.core.errors import InvalidParameter, TurnwiseError, UserError, did_you_mean
from turnwise.server.errors import Refusal, cut
from turnwise.server.exchange import current

Model = TypeVar("Model", bound=BaseModel)

DEFAULT_LIMIT = 4 * 2**20
_DRAIN = 8  # how many times the limit is read and thrown away, so that the client gets to read the refusal
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class InvalidBody(UserError):
    """The body is not JSON, or not an object."""

    code = "invalid_json"


async def read(request: Request, model: type[Model], limit: int) -> Model:
    """The request's JSON body as a `model`.

    Raises:
        Refusal: 413 when it is longer than `limit` bytes (checked while it arrives), 415 when it is not JSON.
        InvalidBody: it is no JSON object.
        InvalidParameter: a field is missing, out of bounds or, unless the server was told to let that pass, unknown.
    """
    return (await read_both(request, model, limit))[0]


async def read_both(request: Request, model: type[Model], limit: int) -> tuple[Model, dict[str, Any]]:
    """As `read`, with the body as it came."""
    _check_type(request.headers.get("content-type", ""))
    content = parse(await _bounded(request, limit))
    if request.app.state.ignore_unknown and (unknown := sorted(content.keys() - model.model_fields.keys())):
        current().ignored = tuple(unknown)
        content = {name: value for name, value in content.items() if name in model.model_fields}
    try:
        return model.model_validate(content), content
    except ValidationError as error:
        raise _first(error, model) from None


def _check_type(said: str) -> None:
    header = Header()
    header["content-type"] = said or "none/none"
    charset = header.get_content_charset("utf-8")
    if header.get_content_type() != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        message = f"The body must be sent as 'Content-Type: application/json' in UTF-8, not '{cut(said)}'."
        raise Refusal(415, "unsupported_media_type", message)


async def _bounded(request: Request, limit: int) -> bytes:
    read, seen = bytearray(), 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen <= limit:
            read += chunk
        else:
            read.clear()
        if seen > limit * _DRAIN:
            break
    if seen > limit:
        raise Refusal(413, "body_too_large", f"The body is larger than the {limit:,} bytes that this server accepts.")
    return bytes(read)


def parse(body: bytes) -> dict[str, Any]:
    """Strict JSON: UTF-8, an object, no NaN, and no half surrogate pairs, which no tokenizer could encode."""
    try:
        text = body.decode()
        content = json.loads(text, parse_constant=_no_constant)
        if _SURROGATE.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeError:
        raise InvalidBody("The body is not valid UTF-8, or holds half of a surrogate pair.") from None
    except json.JSONDecodeError as error:
        raise InvalidBody(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise InvalidBody("The body is nested too deeply.") from None
    except ValueError as error:
        raise InvalidBody(f"The body is not valid JSON: {cut(str(error))}.") from None
    if not isinstance(content, dict):
        raise InvalidBody('The body must be a JSON object, like {"model": …, "messages": […]}.')
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _first(error: ValidationError, model: type[BaseModel]) -> TurnwiseError:
    """The first thing that is wrong, as a sentence; pydantic's own words speak to programmers."""
    first = min(error.errors(include_url=False), key=lambda e: e["type"] == "missing")
    ours = first.get("ctx", {}).get("error")
    if isinstance(ours, TurnwiseError):
        return ours
    name = cut(".".join(str(step) for step in first["loc"])) or "body"
    if first["type"] == "extra_forbidden":
        return _unknown(name, first["loc"], model)
    code, sentence = _SENTENCES.get(first["type"], ("invalid_value", cut(first["msg"])))
    return InvalidParameter(name, f"'{name}' {sentence.format_map(first.get('ctx', {}))}.", code=code)


_SENTENCES = {
    "missing": ("missing_required_parameter", "is required"),
    "bool_type": ("invalid_type", "must be true or false"),
    "string_type": ("invalid_type", "must be a string"),
    "model_type": ("invalid_type", "must be an object"),
    "model_attributes_type": ("invalid_type", "must be an object"),
    "dict_type": ("invalid_type", "must be an object"),
    "string_too_long": ("invalid_value", "may have at most {max_length} characters"),
    "string_too_short": ("invalid_value", "must have at least {min_length} character"),
}


def _unknown(name: str, location: tuple[int | str, ...], model: type[BaseModel]) -> InvalidParameter:
    known = model
    for step in location[:-1]:
        known = next(kind for kind in _models_in(known, str(step)))
    last = cut(str(location[-1]))
    hint = did_you_mean(last, known.model_fields)
    return InvalidParameter(name, f"Unknown parameter '{name}': {hint}", code="unknown_parameter")


def _models_in(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """The models that the annotation of a field mentions."""
    annotation = model.model_fields[name].annotation
    kinds = [annotation, *getattr(annotation, "__args__", ())]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
