"""The `prediction` field: what the answer will perhaps say."""

from typing import Any

from turnwise.server.format import wrong

_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "description": "What the answer will perhaps say; where it does, several tokens come at once.",
    "type": "object",
    "properties": {
        "type": {"const": "content"},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": _PART}]},
    },
    "required": ["type", "content"],
    "additionalProperties": False,
}


def read_prediction(said: Any) -> str | None:
    """Its text. Raises `InvalidParameter`."""
    if said is None:
        return None
    if not isinstance(said, dict) or said.keys() != {"type", "content"} or said["type"] != "content":
        raise wrong("prediction", 'must be {"type": "content", "content": ...}')
    content = said["content"]
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(map(_is_text, content)):
        raise wrong("prediction", "must hold a string or a list of text parts")
    return "".join(part["text"] for part in content)


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and part.keys() == {"type", "text"}
        and part["type"] == "text"
        and isinstance(part["text"], str)
    )
