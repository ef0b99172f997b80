"""`docs/http.md`: what becomes of every request field, written from the code that decides it.

python -m turnwise.server.field_reference > docs/http.md
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from turnwise.core.parameters import MAX_LOGIT_BIAS_ENTRIES, MAX_STRING, ParameterSpec
from turnwise.server.responses.response_fields import INPUT_TOKENS_UNSUPPORTED, RESPONSE_SAMPLING, RESPONSE_UNSUPPORTED
from turnwise.server.responses.response_request import InputTokensRequest, ResponseRequest
from turnwise.server.routes.embeddings import EmbeddingRequest
from turnwise.server.schema.chat_completion_request import ChatCompletionRequest
from turnwise.server.schema.completion_request import (
    COMPLETION_SAMPLING_FIELDS,
    COMPLETION_UNSUPPORTED_FIELDS,
    MAX_PROMPTS,
    CompletionRequest,
)
from turnwise.server.schema.json_object import MAX_IDENTIFIER_CHARS
from turnwise.server.schema.json_parser import MAX_JSON_NODES, MAX_VALUES
from turnwise.server.schema.unsupported_fields import (
    BEST_OF_SPEC,
    CHAT_SAMPLING_FIELDS,
    N_SPEC,
    PRIORITY_SPEC,
    UNSUPPORTED_FIELDS,
    UnsupportedField,
)

# What no published interface knows.
EXTENSION_FIELDS = frozenset({
    "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size", "min_tokens", "num_beams",
    "penalty_alpha", "num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping", "best_of",
    "stop_token_ids", "ignore_eos", "bad_words", "guided_regex", "guided_grammar", "guided_choice",
    "chat_template_kwargs", "scenario", "knowledge", "priority", "echo", "conversation_id", "continue_final_message",
    "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "context_policy", "sampling_preset",
})  # fmt: skip

# Where the published interfaces differ: the older one has some of these, the newer one lacks some of the others.
COMPLETIONS_API_FIELDS = frozenset({"best_of", "echo"})
CHAT_API_FIELDS = frozenset({"frequency_penalty", "presence_penalty", "logit_bias", "seed", "stop"})

Specs = Mapping[str, ParameterSpec]
ROUTES: dict[str, tuple[type[BaseModel], Specs, Mapping[str, UnsupportedField]]] = {
    "/v1/chat/completions": (ChatCompletionRequest, CHAT_SAMPLING_FIELDS, UNSUPPORTED_FIELDS),
    "/v1/responses": (ResponseRequest, RESPONSE_SAMPLING, RESPONSE_UNSUPPORTED),
    "/v1/responses/input_tokens": (InputTokensRequest, {}, INPUT_TOKENS_UNSUPPORTED),
    "/v1/completions": (CompletionRequest, COMPLETION_SAMPLING_FIELDS, COMPLETION_UNSUPPORTED_FIELDS),
    "/v1/embeddings": (EmbeddingRequest, {}, {}),
}
_EXTENSIONS_OF: Mapping[type[BaseModel], frozenset[str]] = {
    CompletionRequest: EXTENSION_FIELDS - COMPLETIONS_API_FIELDS,
    ResponseRequest: EXTENSION_FIELDS | CHAT_API_FIELDS,
}
_COLUMNS = ("| field | here | values |", "| --- | --- | --- |")

PAGE_HEADER = f"""# Every field of every request

Every field is enforced exactly or refused with a 400 that names it; none is accepted and ignored. A field that is null
counts as absent, at every depth of the body. An unknown field is refused with the nearest known name.

What this server sends, it accepts back: a message of an answer or of a stored conversation may keep the fields that it
came with, or that a client library added (`id`, `index`, `finish_reason`, `logprobs`, `annotations`, `refusal`,
`reasoning_content`, `parsed`, `index` of a call, and others that are null or empty). Of these, the model reads
`refusal`, as text of the assistant.

Bounds are the published ones or wider, but for these:

* published without a bound: the prompts of a completion ({MAX_PROMPTS} here), `name`, `user` and `prompt_cache_key`
  ({MAX_IDENTIFIER_CHARS} characters here), the strings of `stop` ({MAX_STRING} characters here), the tokens of
  `logit_bias`
  ({MAX_LOGIT_BIAS_ENTRIES} here);
* `best_of` begins at 0 as published and at 1 here;
* a body has a size that `turnwise serve` sets, and at most {MAX_JSON_NODES:,} arrays, objects and fields,
  and {MAX_VALUES:,} values.

*This page is written by `python -m turnwise.server.field_reference`; a test fails when it and the code part ways.*
"""


def render_markdown() -> str:
    """The whole page."""
    parts = [PAGE_HEADER]
    for route, (model, specs, unsupported) in ROUTES.items():
        fields = model.model_json_schema()["properties"]
        ours = _EXTENSIONS_OF.get(model, EXTENSION_FIELDS)
        published = [name for name in sorted(fields) if name not in ours]
        extensions = [name for name in sorted(fields) if name in ours]
        parts.append(f"## `POST {route}`\n")
        for title, names in (("Published fields", published), ("Extensions", extensions)):
            if names:
                rows = [_row(name, fields[name], specs, unsupported) for name in names]
                parts += [f"### {title}\n", "\n".join([*_COLUMNS, *rows]) + "\n"]
    return "\n".join(parts)


def _row(name: str, schema: dict[str, Any], specs: Specs, unsupported: Mapping[str, UnsupportedField]) -> str:
    if name in unsupported:
        return _unsupported_row(unsupported[name])
    spec = {"n": N_SPEC, "best_of": BEST_OF_SPEC, "priority": PRIORITY_SPEC, **specs}.get(name)
    values = _bounds(spec) if spec is not None else _json_types(schema)
    return f"| `{name}` | {schema.get('description', 'Honoured.')} | {values} |"


def _unsupported_row(field: UnsupportedField) -> str:
    passing = ", ".join(f"`{json.dumps(value)}`" for value in field.neutral_values)
    return f"| `{field.name}` | *Refused: {field.reason}.* | {f'only {passing}' if passing else '—'} |"


def _bounds(spec: ParameterSpec) -> str:
    """The bounds and the default as a person would say them."""
    terms = [spec.bounds] if spec.bounds and not spec.many and abs(spec.high or 0) < 1e9 else []
    if spec.kind is bool:
        terms = ["true, false or " + ", ".join(map(repr, spec.words)) if spec.words else "true or false"]
    if spec.many:
        terms = [f"one or a list of up to {spec.high:g}"]
    if spec.default not in (None, (), False):
        terms.append(f"default {spec.default:g}")
    return ", ".join(terms) or "a whole number"


def _json_types(schema: dict[str, Any]) -> str:
    kinds = [option.get("type") or ("enum" in option and _enum(option)) for option in schema.get("anyOf", [schema])]
    return ", ".join(str(kind) for kind in kinds if kind and kind != "null") or "see the description"


def _enum(option: dict[str, Any]) -> str:
    return " ".join(f"`{json.dumps(value)}`" for value in option["enum"])


if __name__ == "__main__":
    print(render_markdown(), end="")
