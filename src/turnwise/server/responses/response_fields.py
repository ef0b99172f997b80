"""Request fields of the Responses API: `text`, `reasoning`, `include`, `truncation`, and unsupported fields."""

from dataclasses import dataclass, replace
from typing import Any, get_args

from turnwise.core.chat_request import ResponseFormat
from turnwise.core.errors import InvalidParameter
from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.server.error_responses import truncate
from turnwise.server.schema.common_fields import ReasoningEffort, Verbosity
from turnwise.server.schema.json_object import invalid_field, read_object
from turnwise.server.schema.response_format import RESPONSE_FORMAT_TYPES, read_json_schema
from turnwise.server.schema.unsupported_fields import CHAT_UNSUPPORTED_FIELDS, UnsupportedField

INCLUDE_LOGPROBS = "message.output_text.logprobs"
# The other values belong to items that never occur here; they are accepted and have no effect.
INCLUDABLE_VALUES = (
    INCLUDE_LOGPROBS, "reasoning.encrypted_content", "file_search_call.results", "web_search_call.results",
    "web_search_call.action.sources", "message.input_image.image_url", "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)  # fmt: skip
TRUNCATION_POLICIES = {"auto": "drop_oldest", "disabled": "refuse"}  # context policies by the value of `truncation`

# The published parameters besides those that `response_request.py` declares. The others are extensions.
RESPONSE_PUBLISHED_PARAMETERS = frozenset({"temperature", "top_p"})
MAX_OUTPUT_TOKENS_SPEC = replace(PARAMETER_SPECS["max_tokens"], name="max_output_tokens")
TOP_LOGPROBS_SPEC = replace(
    PARAMETER_SPECS["top_logprobs"],
    description="Number of most likely tokens to return at every position. Above 0, log-probabilities are returned, as "
    f"with 'include': [\"{INCLUDE_LOGPROBS}\"].",
)

RESPONSE_UNSUPPORTED: dict[str, UnsupportedField] = {
    field.name: field
    for field in (
        UnsupportedField("access_programs", ({},), "this server has no access programs"),
        UnsupportedField("background", (False,), "responses are generated while the client waits; use 'stream'"),
        UnsupportedField("background_options", ({}, {"completion_window": "soonest"}), "there is no background mode"),
        UnsupportedField("context_management", ([],), "use 'truncation', or the extension 'context_policy'"),
        UnsupportedField("conversation", (), "use 'previous_response_id'"),
        UnsupportedField("image", ({},), "the models here read and write text only"),
        UnsupportedField("prompt", (), "this server stores no prompt templates; send 'instructions' and 'input'"),
        *(
            CHAT_UNSUPPORTED_FIELDS[name]
            for name in ("moderation", "prompt_cache_options", "prompt_cache_retention", "service_tier")
        ),
    )
}

INPUT_TOKENS_UNSUPPORTED: dict[str, UnsupportedField] = {
    "conversation": RESPONSE_UNSUPPORTED["conversation"],
    "personality": UnsupportedField("personality", (), "the models here have no style presets; use 'instructions'"),
}

TEXT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Format of the text, enforced token by token, and verbosity, if the chat template supports it.",
    "additionalProperties": False,
    "properties": {
        "format": {
            "type": "object",
            "required": ["type"],
            "additionalProperties": False,
            "properties": {
                "type": {"enum": list(RESPONSE_FORMAT_TYPES)},
                "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                "description": {"type": ["string", "null"]},
                "schema": {"type": "object"},
                "strict": {"type": ["boolean", "null"]},
            },
        },
        "verbosity": {"enum": [*get_args(Verbosity), None]},
    },
}
REASONING_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "'effort' is used if the chat template supports it. Summaries are not supported.",
    "additionalProperties": False,
    "properties": {"effort": {"enum": [*get_args(ReasoningEffort), None]}, "context": {"enum": ["auto", None]},
                   "mode": {"enum": ["standard", None]}},
}  # fmt: skip
TRUNCATION_SCHEMA: dict[str, Any] = {
    "enum": [*TRUNCATION_POLICIES, None],
    "description": "If the input does not fit the context: 'auto' drops the oldest messages, 'disabled' rejects the "
    "request. Default: the context policy of the server.",
}
INCLUDE_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {"enum": list(INCLUDABLE_VALUES)},
    "description": f'"{INCLUDE_LOGPROBS}" returns log-probabilities. The other values have no effect.',
}


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The field `text`: format and verbosity of the answer."""

    format: ResponseFormat | None = None
    verbosity: str | None = None


def read_text_config(value: Any) -> TextConfig:
    """Return the field `text`. Raises `InvalidParameter`."""
    if value is None:
        return TextConfig()
    config = read_object(value, "text", {"format", "verbosity"})
    verbosity = _one_of(config.get("verbosity"), "text.verbosity", get_args(Verbosity))
    return TextConfig(_read_text_format(config.get("format")), verbosity)


def _read_text_format(value: Any) -> ResponseFormat | None:
    if value is None:
        return None
    path = "text.format"
    format_type = value.get("type") if isinstance(value, dict) else None
    if format_type not in RESPONSE_FORMAT_TYPES:
        requirement = f"must be one of {', '.join(RESPONSE_FORMAT_TYPES)}, not {truncate(repr(format_type))}"
        raise invalid_field(f"{path}.type", requirement)
    if format_type == "json_schema":
        return read_json_schema({name: value[name] for name in value.keys() - {"type"}}, path, path)
    read_object(value, path, {"type"})
    return None if format_type == "text" else ResponseFormat("json_object", param=path)


def read_reasoning_effort(value: Any) -> str | None:
    """Return the effort in the field `reasoning`. Raises `InvalidParameter`."""
    if value is None:
        return None
    config = read_object(value, "reasoning", {"effort", "summary", "generate_summary", "context", "mode"})
    for name, neutral_values, reason in (
        ("summary", (), "the models here do not summarize their reasoning"),
        ("generate_summary", (), "the models here do not summarize their reasoning"),
        ("context", ("auto",), "the model does not see the reasoning of earlier turns"),
        ("mode", ("standard",), "there is one mode"),
    ):
        UnsupportedField(f"reasoning.{name}", neutral_values, reason).check(config.get(name))
    return _one_of(config.get("effort"), "reasoning.effort", get_args(ReasoningEffort))


def read_include(value: Any) -> tuple[str, ...]:
    """Return the field `include`. Raises `InvalidParameter`."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid_field("include", "must be a list")
    for i, name in enumerate(value):
        _one_of(name, f"include[{i}]", INCLUDABLE_VALUES)
    return tuple(value)


def read_truncation(value: Any) -> str | None:
    """Return the field `truncation`. Raises `InvalidParameter`."""
    return _one_of(value, "truncation", tuple(TRUNCATION_POLICIES))


def resolve_context_policy(truncation: str | None, policy: str | None) -> str | None:
    """Return the context policy of both fields. Raises `InvalidParameter` if they contradict each other."""
    if truncation is None:
        return policy
    if policy is not None and (policy == "refuse") != (truncation == "disabled"):
        raise InvalidParameter(
            "context_policy", f"'context_policy' ({policy}) contradicts 'truncation' ({truncation}); send one of them."
        )
    return policy or TRUNCATION_POLICIES[truncation]


def _one_of(value: Any, path: str, choices: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in choices:
        raise invalid_field(path, f"must be one of {', '.join(choices)}, not {truncate(repr(value))}")
    return value
