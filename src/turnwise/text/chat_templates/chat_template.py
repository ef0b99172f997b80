"""Chat templates: a model's Jinja program that lays messages out as one text.

Templates come from a model's folder only, never from a request, and even so they run in a sandbox with a budget
(`text.sandbox`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from turnwise.core.errors import TemplateError
from turnwise.text.chat_templates.render_budget import MAX_VALUE, render_budget
from turnwise.text.chat_templates.sandbox import TemplateEnvironment

MAX_TEMPLATE_CHARACTERS = 100_000  # characters; the longest published template is under 20,000
MAX_TIME_FORMAT = 100  # characters


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's text in some templates; we find it by position."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _raise(message: str) -> NoReturn:
    raise TemplateError(f"The model's chat template refuses these messages: {message}")


def _strftime_now(format: str) -> str:
    if len(format) > MAX_TIME_FORMAT:
        raise ValueError("strftime_now: the format is too long")
    return datetime.now().strftime(format)


def _environment() -> TemplateEnvironment:
    environment = TemplateEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols], autoescape=False
    )
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _strftime_now
    return environment


@lru_cache(maxsize=32)
def find_template_variables(source: str) -> frozenset[str]:
    """The variables a template looks at; none where it is broken, which `apply_template` says better."""
    try:
        return frozenset(
            name.name for name in _environment().parse(source[:MAX_TEMPLATE_CHARACTERS]).find_all(nodes.Name)
        )
    except (jinja2.TemplateSyntaxError, RecursionError):
        return frozenset()


@lru_cache(maxsize=32)
def _compile(source: str) -> jinja2.Template:
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateError(
            f"The chat template is {len(source):,} characters long; at most {MAX_TEMPLATE_CHARACTERS:,} are read."
        )
    try:
        return _environment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"The chat template has a mistake in line {error.lineno}: {error.message}") from error
    except Exception as error:  # of the parser, or of Python's own when it compiles what the template becomes
        raise TemplateError("The chat template cannot be compiled: it nests too deeply.") from error


def check_template(source: str) -> None:
    """Raise `TemplateError` where a template cannot be compiled."""
    _compile(source)


def apply_chat_template(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    variables: Mapping[str, Any],
    add_generation_prompt: bool,
) -> str:
    """Lay `messages` out as one text.

    Raises:
        TemplateError: the template is broken, refuses the messages, tries what the sandbox forbids or uses up its
            budget (`text.sandbox`).
    """
    values = {"tools": None, "documents": None, **variables}
    pieces, length = [], 0
    try:
        with render_budget():
            for piece in _compile(source).generate(
                **values, messages=list(messages), add_generation_prompt=add_generation_prompt
            ):
                length += len(piece)
                if length > MAX_VALUE:
                    raise TemplateError(f"The chat template produces more than {MAX_VALUE:,} characters.")
                pieces.append(piece)
    except TemplateError:
        raise
    except Exception as error:  # a template is a program: it can fail in any way
        reason = "it nests too deeply" if isinstance(error, RecursionError | MemoryError) else error
        raise TemplateError(f"The chat template failed: {reason}") from error
    return "".join(pieces)
