"""The published request fields, each honoured or refused: none is accepted and ignored.

What is honoured is read in `protocol.py`. Everything else stands here with the values that ask for nothing, which pass,
and the sentence that says why any other value does not.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.parameters import MAX_STRING, PARAMETER_SPECS, ParameterSpec
from turnwise.server.error_responses import truncate

# Fields that `protocol.py` reads itself, beside the generation parameters.
EXPLICIT_FIELDS = frozenset({
    "messages", "model", "stream", "stream_options", "user", "safety_identifier", "store", "metadata", "n",
    "response_format", "reasoning_effort", "verbosity",
    "conversation_id", "continue_final_message", "chat_template_kwargs", "guided_regex", "guided_choice",
    "guided_grammar", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "best_of",
    "context_policy", "sampling_preset",
    "prediction", "prompt_cache_key", "priority", "echo",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class UnsupportedField:
    """A published field that this server knows and cannot honour; `passes` lists the values that ask for nothing.

    Null passes everywhere: it is how a client says that it did not say.
    """

    name: str
    neutral_values: tuple[Any, ...]
    reason: str

    def check(self, value: Any) -> Any:
        """Let a value without effect pass; raise `InvalidParameter` for any other."""
        if value is None or any(_same(value, passing) for passing in self.neutral_values):
            return value
        allowed = " or ".join(json.dumps(passing) for passing in (*self.neutral_values, None))
        raise InvalidParameter(
            self.name,
            f"'{self.name}' is not supported: {self.reason}. Leave it out, or send {allowed}.",
            code="unsupported_value",
        )


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON sees it, where false is not 0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


_NO_AUDIO = "the models here read and write text only"
_CACHE = "what was read of prompts is kept in memory for as long as there is room, whatever is asked"

UNSUPPORTED_FIELDS: dict[str, UnsupportedField] = {
    field.name: field
    for field in (
        UnsupportedField("audio", (), _NO_AUDIO),
        UnsupportedField("modalities", (["text"],), _NO_AUDIO),
        UnsupportedField("moderation", (), "this server does not moderate"),
        UnsupportedField("prompt_cache_options", ({}, {"mode": "implicit"}), _CACHE),
        UnsupportedField("prompt_cache_retention", ("in_memory", "in-memory"), _CACHE),
        UnsupportedField("service_tier", ("auto", "default"), "there is one tier"),
        UnsupportedField("web_search_options", (), "this server does not search the web"),
        UnsupportedField("scenario", (), "this server has no scenarios"),
        UnsupportedField("knowledge", (), "this server looks nothing up"),
    )
}

CHAT_SAMPLING_FIELDS: dict[str, ParameterSpec] = {
    **PARAMETER_SPECS,
    "max_completion_tokens": dataclasses.replace(PARAMETER_SPECS["max_tokens"], name="max_completion_tokens"),
}

SUPPORTED_FIELDS = EXPLICIT_FIELDS | CHAT_SAMPLING_FIELDS.keys()


JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", dict: "object"}

# How many answers: not the engine's business, which makes one at a time.
N_SPEC = ParameterSpec("n", int, 1, "How many different answers to give.", low=1, high=128, off=1)


BEST_OF_SPEC = ParameterSpec(
    "best_of", int, 1, "How many answers to make, of which the 'n' likeliest by token are sent.", low=1, high=128, off=1
)


PRIORITY_SPEC = ParameterSpec(
    "priority", int, 0, "Among the requests of one key, those of the lowest number go first.", low=-100, high=100, off=0
)


def resolve_best_of(best_of: int | None, n: int | None, stream: bool) -> int:
    """How many answers to make. Raises `InvalidParameter` where it cannot be."""
    if best_of is None:
        return 1
    if best_of < (n or 1):
        raise InvalidParameter("best_of", f"'best_of' ({best_of}) must not be less than 'n' ({n}).")
    if stream and best_of > (n or 1):
        raise InvalidParameter(
            "best_of", "'best_of' cannot be streamed: which answer is the best shows when all are whole. "
            "Leave 'stream' out.", code="unsupported_value",
        )  # fmt: skip
    return best_of


def check_parameter(spec: ParameterSpec, value: Any) -> Any:
    """A sampling value in its type; null counts as not said. Raises `InvalidParameter`, which never echoes much."""
    if value is None:
        return None
    try:
        return spec.check(value)
    except OverflowError:
        raise InvalidParameter(spec.name, f"'{spec.name}' must be {spec.bounds}.") from None
    except InvalidParameter as error:
        said = repr(value)
        raise InvalidParameter(spec.name, str(error).replace(said, truncate(said))) from None


def parameter_json_schema(spec: ParameterSpec) -> dict[str, Any]:
    """The parameter as JSON schema, for the API's own description."""
    one: dict[str, Any] = {"type": JSON_TYPES[spec.kind]}
    if spec.words:
        return {"description": spec.help, "default": spec.default, "anyOf": [one, {"enum": list(spec.words)}]}
    if spec.many:
        one |= {"maxLength": MAX_STRING} if spec.kind is str else {}
        return {"description": spec.help, "anyOf": [one, {"type": "array", "items": one, "maxItems": spec.high}]}
    if spec.low is not None:
        one["exclusiveMinimum" if spec.low_open else "minimum"] = spec.low
    if spec.high is not None:
        one["maximum"] = spec.high
    if spec.kind is dict:
        return {"description": spec.help, "type": "object", "additionalProperties": one | {"type": "number"}}
    return {"description": spec.help, "default": spec.default, **one}
