"""The request field `answer_tokens`: the start of an answer as token ids, an extension."""

from typing import Annotated, Any

from turnwise.core.errors import InvalidParameter
from turnwise.server.schema.request_field import EXTENSION, Reader, Target

MAX_ANSWER_TOKENS = 131_072
MAX_TOKEN_ID = 2**31 - 1
FIELD = "answer_tokens"
_SCHEMA: dict[str, Any] = {
    "description": "Token ids that the answer starts with; it continues them. Penalties and formats count them as part "
    "of the answer.",
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID},
    "maxItems": MAX_ANSWER_TOKENS,
}


def read_token_ids(value: Any, name: str, limit: int) -> tuple[int, ...] | None:
    """Return a list of token ids; None for null. Raises `InvalidParameter`."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(entry) is int and 0 <= entry <= MAX_TOKEN_ID for entry in value):
        raise InvalidParameter(name, f"'{name}' must be a list of token ids.", code="invalid_type")
    if len(value) > limit:
        raise InvalidParameter(name, f"'{name}' takes at most {limit:,} token ids, got {len(value):,}.")
    return tuple(value)


def _read_answer_tokens(value: Any) -> tuple[int, ...] | None:
    return read_token_ids(value, FIELD, MAX_ANSWER_TOKENS)


AnswerTokens = Annotated[
    tuple[int, ...] | None, Reader(_read_answer_tokens, _SCHEMA), EXTENSION, Target("context.answer_ids")
]
