"""The field `metadata`: up to 16 pairs of short strings."""

from typing import Any

from starlette.datastructures import QueryParams

from turnwise.server.error_responses import truncate
from turnwise.server.schema.json_object import invalid_field

MAX_METADATA_PAIRS, MAX_METADATA_KEY_CHARS, MAX_METADATA_VALUE_CHARS = 16, 64, 512

METADATA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MAX_METADATA_PAIRS,
    "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE_CHARS},
    "description": "Up to 16 pairs of strings; returned in the response, and stored with a stored completion.",
}


def read_metadata(metadata: Any) -> dict[str, str] | None:
    """Return the pairs; None for null. Raises `InvalidParameter`, which names the pair."""
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or len(metadata) > MAX_METADATA_PAIRS:
        raise invalid_field("metadata", f"must be an object of at most {MAX_METADATA_PAIRS} strings")
    for key, value in metadata.items():
        if not 1 <= len(key) <= MAX_METADATA_KEY_CHARS:
            requirement = f"must have keys of 1 to {MAX_METADATA_KEY_CHARS} characters, not '{truncate(key)}'"
            raise invalid_field("metadata", requirement)
        if not isinstance(value, str) or len(value) > MAX_METADATA_VALUE_CHARS:
            requirement = f"must be a string of at most {MAX_METADATA_VALUE_CHARS} characters"
            raise invalid_field(f"metadata.{key}", requirement)
    return metadata


def metadata_filter(query: QueryParams) -> dict[str, str]:
    """Return the filter of a list request, from query parameters of the form `metadata[key]=value`."""
    pairs = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    return dict(read_metadata(pairs) or {})
