"""JSON schemas made narrower where they leave open what nobody asked for.

A schema that lists an object's properties and does not say whether there may be others allows any, under any name. A
model held to that may go on inventing properties until its tokens run out, so such objects are closed. What comes out
still follows the schema as it was sent. Objects without a list of properties stay open: there, anything was meant.
"""

from collections.abc import Mapping
from typing import Any

# Keywords under which an object is described in several places; closing one of them would contradict the others.
_COMPOSING = ("allOf", "if", "not", "dependentSchemas", "unevaluatedProperties", "patternProperties", "$dynamicRef")
_BRANCHING = ("anyOf", "oneOf", "$ref")
_DEEPEST = 100  # the library refuses what is nested deeper


def closed(schema: Any) -> Any:
    """`schema` with every object that lists its properties closed; unchanged where objects are composed of several."""
    return schema if _composes(schema, 0) else _close(schema)


def _composes(schema: Any, depth: int) -> bool:
    if isinstance(schema, list):
        return any(_composes(part, depth + 1) for part in schema)
    if not isinstance(schema, Mapping):
        return False
    if depth > _DEEPEST or any(name in schema for name in _COMPOSING):
        return True
    if "properties" in schema and any(name in schema for name in _BRANCHING):
        return True
    return any(_composes(part, depth + 1) for part in schema.values())


def _close(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_close(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {name: part if name in ("enum", "const", "default", "examples") else _close(part)
            for name, part in schema.items()}  # fmt: skip
    listed = schema.get("properties")
    if listed and isinstance(listed, Mapping) and schema.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made
