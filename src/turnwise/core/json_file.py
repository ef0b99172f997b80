"""JSON files from untrusted folders: read with limits and validated against declared fields.

A model folder is untrusted input. Reading takes bounded time and returns a value or raises an error that names the file
and the field.
"""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from turnwise.core.errors import UserError

MAX_BYTES = 128 * 2**20  # a tokenizer.json of a large vocabulary takes 35 MB
MAX_DEPTH = 64
MAX_DIGITS = 1000  # of one integer; tokenizer_config.json often has one with 31


class JsonFileModel(BaseModel):
    """Base class of the fields that Turnwise reads from a JSON file. Other fields are ignored.

    The `description` of a field completes the error message "'name' should be …".
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read the value of a JSON file.

    Raises:
        UserError: the file cannot be read, is larger than `max_bytes` or is invalid (see `parse_json`).
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), str(path))


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file. Raises `UserError` if it cannot be read or is larger than `max_bytes`."""
    try:
        if (size := path.stat().st_size) > max_bytes:
            raise UserError(f"{path} has {size:,} bytes; at most {max_bytes:,} are read.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_json_object(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Read the object of a JSON file. Raises as `read_json` does, and if the value is not an object."""
    loaded = read_json(path, max_bytes=max_bytes)
    if not isinstance(loaded, dict):
        raise UserError(f"{path} should hold a JSON object, got {preview(loaded)}.")
    return loaded


def read_optional_json_object(path: Path) -> dict[str, Any]:
    """Read the object of a JSON file; empty if the file is missing. Raises as `read_json_object` does."""
    return read_json_object(path) if path.is_file() else {}


def parse_json(content: bytes, origin: str) -> Any:
    """Parse a JSON value with limits on its depth and the length of its numbers.

    Args:
        content: UTF-8 text.
        origin: name of the input in error messages.

    Raises:
        UserError: the content is not UTF-8, not JSON, too deep, or has a number that is not finite or too long.
    """
    try:
        loaded = json.loads(
            content.decode("utf-8"), parse_int=_integer, parse_float=_finite, parse_constant=_reject_constant
        )
    except RecursionError:
        raise UserError(f"{origin} is not readable JSON: it is nested too deeply.") from None
    except ValueError as error:
        raise UserError(f"{origin} is not readable JSON: {error}.") from error
    _check_values(loaded, origin)
    return loaded


def validate_fields(fields: type[JsonFileModel], values: dict[str, Any], origin: str) -> None:
    """Validate the values of a JSON object.

    Args:
        fields: the declared fields.
        values: the JSON object.
        origin: name of the input in error messages.

    Raises:
        UserError: a field is missing, has a wrong type or is out of range.
    """
    try:
        fields.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        if name not in values:
            raise UserError(f"{origin} lacks '{name}'.") from error
        expected = fields.model_fields[name].description
        assert expected is not None, "every field has a description"
        raise UserError(f"{origin}: '{name}' should be {expected}, got {preview(values[name])}.") from error


def preview(value: Any, length: int = 60) -> str:
    """A value as short printable text on one line, for error messages."""
    if isinstance(value, dict | list) and len(value) > 8:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,} entries"
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}…"


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits; at most {MAX_DIGITS} are read")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _check_values(loaded: Any, origin: str) -> None:
    """Check the depth and reject unpaired surrogates, which UTF-8 cannot encode."""
    level = [loaded]
    for _ in range(MAX_DEPTH):
        children: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                children.extend(value)
                children.extend(value.values())
            elif isinstance(value, list):
                children.extend(value)
            elif isinstance(value, str) and not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise UserError(f"{origin} has an unpaired surrogate, {preview(value)}.") from error
        if not children:
            return
        level = children
    raise UserError(f"{origin} is nested more than {MAX_DEPTH} levels deep.")
