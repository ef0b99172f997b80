"""The published request fields, each honoured or refused: none is accepted and ignored.

What is honoured is read in `protocol.py`. Everything else stands here with the values that ask for nothing, which pass,
and the sentence that says why any other value does not.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.core.parameters import SPECS, ParameterSpec
from turnwise.server.errors import cut

EXTENSIONS = frozenset({"top_k", "conversation_id", "continue_final_message"})


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A published field that this server knows and cannot honour; `passes` lists the values that ask for nothing.

    Null passes everywhere: it is how a client says that it did not say.
    """

    name: str
    passes: tuple[Any, ...]
    why: str

    def check(self, value: Any) -> Any:
        """Let a value without effect pass; raise `InvalidParameter` for any other."""
        if value is None or any(_same(value, passing) for passing in self.passes):
            return value
        allowed = " or ".join(json.dumps(passing) for passing in (*self.passes, None))
        raise InvalidParameter(
            self.name,
            f"'{self.name}' is not supported: {self.why}. Leave it out, or send {allowed}.",
            code="unsupported_value",
        )


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON sees it, where false is not 0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


_NO_TOOLS = "this server offers the model no tools"
_NO_PENALTIES = "this server has no such penalty"
_NO_AUDIO = "the models here read and write text only"
_NO_CACHE = "this server shares no prompt cache between requests"

UNSUPPORTED: dict[str, Unsupported] = {
    field.name: field
    for field in (
        Unsupported("audio", (), _NO_AUDIO),
        Unsupported("frequency_penalty", (0,), _NO_PENALTIES),
        Unsupported("function_call", ("none", "auto"), _NO_TOOLS),
        Unsupported("functions", ([],), _NO_TOOLS),
        Unsupported("logit_bias", ({},), "this server does not shift single tokens"),
        Unsupported("logprobs", (False,), "this server does not report probabilities"),
        Unsupported("metadata", ({},), "this server keeps no metadata with a completion"),
        Unsupported("modalities", (["text"],), _NO_AUDIO),
        Unsupported("moderation", (), "this server does not moderate"),
        Unsupported("n", (1,), "this server gives one answer per request; send the request again for another"),
        Unsupported("parallel_tool_calls", (True,), _NO_TOOLS),
        Unsupported("prediction", (), "this server does not decode from a prediction"),
        Unsupported("presence_penalty", (0,), _NO_PENALTIES),
        Unsupported("prompt_cache_key", (), _NO_CACHE),
        Unsupported("prompt_cache_options", ({},), _NO_CACHE),
        Unsupported("prompt_cache_retention", (), _NO_CACHE),
        Unsupported("reasoning_effort", ("none",), "the models here answer without a reasoning phase"),
        Unsupported("response_format", ({"type": "text"},), "this server cannot hold an answer to a grammar yet"),
        Unsupported("safety_identifier", (), "this server tells users apart by nothing"),
        Unsupported("service_tier", ("auto", "default"), "there is one tier"),
        Unsupported("store", (False,), "completions are not stored; chats are, under /v1/conversations"),
        Unsupported("tool_choice", ("none", "auto"), _NO_TOOLS),
        Unsupported("tools", ([],), _NO_TOOLS),
        Unsupported("top_logprobs", (0,), "this server does not report probabilities"),
        Unsupported("verbosity", ("medium",), "the models here have no such dial; say in a message how long to answer"),
        Unsupported("web_search_options", (), "this server does not search the web"),
    )
}

SAMPLING: dict[str, ParameterSpec] = {
    **SPECS,
    "max_completion_tokens": dataclasses.replace(SPECS["max_tokens"], name="max_completion_tokens"),
}

HONOURED = frozenset({"messages", "model", "stream", "stream_options", "user"}) | SAMPLING.keys() | EXTENSIONS


def check_sampling(spec: ParameterSpec, value: Any) -> Any:
    """A sampling value in its type; null counts as not said. Raises `InvalidParameter`, which never echoes much."""
    if value is None:
        return None
    try:
        return spec.check(value)
    except OverflowError:
        raise InvalidParameter(spec.name, f"'{spec.name}' must be {spec.bounds}.") from None
    except InvalidParameter as error:
        said = repr(value)
        raise InvalidParameter(spec.name, str(error).replace(said, cut(said))) from None


def sampling_schema(spec: ParameterSpec) -> dict[str, Any]:
    """The parameter as JSON schema, for the API's own description."""
    kind = {int: "integer", float: "number", str: "string"}[spec.kind]
    one: dict[str, Any] = {"type": kind}
    if spec.many:
        return {"description": spec.help, "anyOf": [one, {"type": "array", "items": one, "maxItems": spec.high}]}
    if spec.low is not None:
        one["exclusiveMinimum" if spec.low_open else "minimum"] = spec.low
    if spec.high is not None:
        one["maximum"] = spec.high
    return {"description": spec.help, "default": spec.default, **one}
