"""The field `prediction`: expected text of the answer, used for speculative decoding."""

from typing import Any

from turnwise.server.error_responses import truncate
from turnwise.server.schema.content_parts import TEXT_PART_SCHEMA, read_text_part
from turnwise.server.schema.json_object import invalid_field, read_object

PREDICTION_SCHEMA: dict[str, Any] = {
    "description": "Expected text of the answer. Where the answer matches it, several tokens are generated per step.",
    "type": "object",
    "properties": {
        "type": {"const": "content"},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": TEXT_PART_SCHEMA}]},
    },
    "required": ["type", "content"],
    "additionalProperties": False,
}


def read_prediction(value: Any) -> str | None:
    """Return the expected text; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    fields = read_object(value, "prediction", ("type", "content"))
    if fields.get("type") != "content":
        raise invalid_field("prediction.type", f"must be 'content', not {truncate(repr(fields.get('type')))}")
    content = fields.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid_field("prediction.content", "must be a string or a list of text parts")
    return "".join(read_text_part(entry, f"prediction.content[{i}]") for i, entry in enumerate(content))
