"""Request fields that the server does not support.

They are accepted with values that have no effect, and rejected with any other value. No field is silently ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from turnwise.core.errors import InvalidParameter
from turnwise.server.schema.request_field import EXTENSION


@dataclass(frozen=True, slots=True, eq=False)
class UnsupportedField:
    """A field that is not supported; metadata of the field of a request body.

    Attributes:
        name: name of the field.
        neutral_values: values that have no effect and are accepted. Null is always accepted.
        reason: why other values are rejected, as a clause for the error message.
        is_extension: True if no published API has the field.
    """

    name: str
    neutral_values: tuple[Any, ...]
    reason: str
    is_extension: bool = False

    def check(self, value: Any) -> Any:
        """Return `value` if it has no effect. Raises `InvalidParameter` for any other value."""
        if value is None or any(_is_equal(value, neutral) for neutral in self.neutral_values):
            return value
        allowed = " or ".join(json.dumps(neutral) for neutral in (*self.neutral_values, None))
        raise InvalidParameter(
            self.name,
            f"'{self.name}' is not supported: {self.reason}. Leave it out, or send {allowed}.",
            code="unsupported_value",
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, core_schema.any_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": [*self.neutral_values, None], "description": f"Not supported: {self.reason}."}


def unsupported_fields(fields: Mapping[str, UnsupportedField]) -> dict[str, Any]:
    """Return the fields of a request body for pydantic's `create_model`."""
    return {
        name: (Annotated[Any, field, EXTENSION] if field.is_extension else Annotated[Any, field], None)
        for name, field in fields.items()
    }


def _is_equal(left: Any, right: Any) -> bool:
    """JSON equality: false is not 0."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


_TEXT_ONLY = "the models here read and write text only"
_CACHE = "the prompt cache is in memory only and its retention cannot be set"

CHAT_UNSUPPORTED_FIELDS: dict[str, UnsupportedField] = {
    field.name: field
    for field in (
        UnsupportedField("audio", (), _TEXT_ONLY),
        UnsupportedField("modalities", (["text"],), _TEXT_ONLY),
        UnsupportedField("moderation", (), "this server has no moderation"),
        UnsupportedField("prompt_cache_options", ({}, {"mode": "implicit"}), _CACHE),
        UnsupportedField("prompt_cache_retention", ("in_memory", "in-memory"), _CACHE),
        UnsupportedField("service_tier", ("auto", "default"), "there is one service tier"),
        UnsupportedField("web_search_options", (), "this server has no web search"),
    )
}
