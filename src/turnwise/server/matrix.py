"""`docs/http.md`: what becomes of every request field, written from the code that decides it.

python -m turnwise.server.matrix > docs/http.md
"""

import json
from typing import Any

from turnwise.core.parameters import ParameterSpec
from turnwise.server.fields import SAMPLING, UNSUPPORTED, N, Unsupported
from turnwise.server.protocol import CompletionRequest

# What no published interface knows.
EXTENSIONS = frozenset({
    "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size", "min_tokens", "num_beams",
    "num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping", "best_of", "stop_token_ids",
    "ignore_eos", "bad_words", "guided_regex", "guided_grammar", "guided_choice", "chat_template_kwargs", "scenario",
    "knowledge", "priority", "echo", "conversation_id", "continue_final_message",
})  # fmt: skip

HEAD = """# Chat completions: every field

Every field of a request to `POST /v1/chat/completions` is honoured exactly or refused with a 400 that names it; none is
accepted and ignored. A field that is null counts as not said. An unknown field is refused with the nearest known name.

*This page is written by `python -m turnwise.server.matrix`; a test fails when it and the code part ways.*
"""


def markdown() -> str:
    """The whole page."""
    fields = CompletionRequest.model_json_schema()["properties"]
    published = {name: schema for name, schema in fields.items() if name not in EXTENSIONS}
    extensions = {name: schema for name, schema in fields.items() if name in EXTENSIONS}
    parts = [HEAD, "## Published fields\n", _table(published), "\n## Extensions\n", _table(extensions)]
    return "\n".join(parts)


def _table(fields: dict[str, Any]) -> str:
    rows = ["| field | here | values |", "| --- | --- | --- |"]
    rows += [_row(name, fields[name]) for name in sorted(fields)]
    return "\n".join(rows) + "\n"


def _row(name: str, schema: dict[str, Any]) -> str:
    if name in UNSUPPORTED:
        return _refused(UNSUPPORTED[name])
    spec = N if name == "n" else SAMPLING.get(name)
    values = _bounds(spec) if spec is not None else _kinds(schema)
    return f"| `{name}` | {schema.get('description', 'Honoured.')} | {values} |"


def _refused(field: Unsupported) -> str:
    passing = ", ".join(f"`{json.dumps(value)}`" for value in field.passes)
    return f"| `{field.name}` | *Refused: {field.why}.* | {f'only {passing}' if passing else '—'} |"


def _bounds(spec: ParameterSpec) -> str:
    """The bounds and the default as a person would say them."""
    said = [spec.bounds] if spec.bounds and not spec.many and abs(spec.high or 0) < 1e9 else []
    if spec.kind is bool:
        said = ["true or false"]
    if spec.many:
        said = [f"one or a list of up to {spec.high:g}"]
    if spec.default not in (None, (), False):
        said.append(f"default {spec.default:g}")
    return ", ".join(said) or "a whole number"


def _kinds(schema: dict[str, Any]) -> str:
    kinds = [option.get("type") or ("enum" in option and _enum(option)) for option in schema.get("anyOf", [schema])]
    return ", ".join(str(kind) for kind in kinds if kind and kind != "null") or "see the description"


def _enum(option: dict[str, Any]) -> str:
    return " ".join(f"`{json.dumps(value)}`" for value in option["enum"])


if __name__ == "__main__":
    print(markdown(), end="")
