"""JSON files of a folder that somebody else made: read with limits, checked against declared fields.

A model folder is input from outside. Whatever is in it, reading ends soon, and in a value or in one sentence that names
the file and the field.
"""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from turnwise.core.errors import UserError

MAX_BYTES = 128 * 2**20  # a tokenizer.json of a large vocabulary takes 35 MB
MAX_DEPTH = 64
MAX_DIGITS = 1000  # of an integer; tokenizer_config.json often has one of 31


class JsonFileModel(BaseModel):
    """The fields of a JSON file that we read; others may stand beside them.

    A field's `description` says what it should be: it completes the sentence "'name' should be …".
    """

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value in a JSON file.

    Raises:
        UserError: the file cannot be read, is larger than `max_bytes` or is not JSON that we accept (`parse_json`).
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), str(path))


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """What is in a file. Raises `UserError` where it cannot be read or is larger than `max_bytes`."""
    try:
        if (size := path.stat().st_size) > max_bytes:
            raise UserError(f"{path} has {size:,} bytes; at most {max_bytes:,} are read.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_json_object(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The object in a JSON file. Raises as `read_json` does, and where it holds anything but an object."""
    loaded = read_json(path, max_bytes=max_bytes)
    if not isinstance(loaded, dict):
        raise UserError(f"{path} should hold a JSON object, got {preview(loaded)}.")
    return loaded


def read_optional_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file. Raises as `read_json_object` does."""
    return read_json_object(path) if path.is_file() else {}


def parse_json(content: bytes, origin: str) -> Any:
    """A JSON value of bounded depth and with finite numbers of bounded length.

    Args:
        content: UTF-8 text.
        origin: what to call it in errors.

    Raises:
        UserError: it is anything else.
    """
    try:
        loaded = json.loads(
            content.decode("utf-8"), parse_int=_integer, parse_float=_finite, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise UserError(f"{origin} is not readable JSON: it is nested too deeply.") from None
    except ValueError as error:
        raise UserError(f"{origin} is not readable JSON: {error}.") from error
    _check_values(loaded, origin)
    return loaded


def validate_fields(fields: type[JsonFileModel], values: dict[str, Any], origin: str) -> None:
    """Check the values of a JSON object against what its fields should be.

    Args:
        fields: the declared fields.
        values: the object.
        origin: what to call it in errors.

    Raises:
        UserError: a field is missing, of another type or out of range.
    """
    try:
        fields.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        if name not in values:
            raise UserError(f"{origin} lacks '{name}'.") from error
        expected = fields.model_fields[name].description
        assert expected is not None, "every field says what it should be"
        raise UserError(f"{origin}: '{name}' should be {expected}, got {preview(values[name])}.") from error


def preview(value: Any, length: int = 60) -> str:
    """A value from a file as it may stand in an error: printable, on one line, and short."""
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


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _check_values(loaded: Any, origin: str) -> None:
    """Bound the depth, and refuse half characters, which no UTF-8 text can hold."""
    level = [loaded]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, str) and not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise UserError(f"{origin} holds half a character, {preview(value)}.") from error
        if not below:
            return
        level = below
    raise UserError(f"{origin} is nested more than {MAX_DEPTH} levels deep.")
