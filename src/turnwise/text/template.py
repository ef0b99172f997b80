"""Chat templates: a model's Jinja program that lays messages out as one text, run in an immutable sandbox.

Templates come from a model's folder only, never from a request, and even so they may not touch anything but the
messages (a template in a downloaded folder has been a way to run code in other programs: CVE-2024-34359).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from turnwise.core.errors import TemplateError

MAX_TEMPLATE = 200_000  # characters; the longest published template is under 20,000
MAX_RENDERED = 64_000_000  # characters


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's text in some templates; we find it by position."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """No attribute that starts with an underscore, no mutation, and no `'x' * 10**9`."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or (operator == "*" and not all(isinstance(side, int | float) for side in (left, right))):
            raise TemplateError("The chat template repeats text or raises powers; templates here may not.")
        return super().call_binop(context, operator, left, right)


def _raise(message: str) -> NoReturn:
    raise TemplateError(f"The model's chat template refuses these messages: {message}")


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


@lru_cache(maxsize=32)
def _compile(source: str) -> jinja2.Template:
    if len(source) > MAX_TEMPLATE:
        raise TemplateError(f"The chat template is {len(source):,} characters long; at most {MAX_TEMPLATE:,} are read.")
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols], autoescape=False
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"The chat template has a mistake in line {error.lineno}: {error.message}") from error


def apply_template(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    variables: Mapping[str, Any],
    add_generation_prompt: bool,
) -> str:
    """Lay `messages` out as one text.

    Raises:
        TemplateError: the template is broken, refuses the messages or tries what the sandbox forbids.
    """
    values = {"tools": None, "documents": None, **variables}
    pieces, length = [], 0
    try:
        for piece in _compile(source).generate(
            **values, messages=list(messages), add_generation_prompt=add_generation_prompt
        ):
            length += len(piece)
            if length > MAX_RENDERED:
                raise TemplateError("The chat template produces endless text.")
            pieces.append(piece)
    except jinja2.TemplateError as error:
        raise TemplateError(f"The chat template failed: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        if isinstance(error, TemplateError):
            raise
        raise TemplateError(f"The chat template failed: {error}") from error
    return "".join(pieces)
