"""Chat templates: the Jinja program of a model that renders messages as one text.

Templates come from model folders, never from requests. Folders may be untrusted, so templates run in a sandbox with a
budget (`chat_templates.sandbox`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from turnwise.core.errors import TemplateError
from turnwise.text.chat_templates.render_budget import MAX_VALUE_SIZE, render_budget
from turnwise.text.chat_templates.sandbox import TemplateEnvironment

MAX_TEMPLATE_CHARACTERS = 100_000  # the longest published template has fewer than 20,000
MAX_TIME_FORMAT_CHARACTERS = 100


class _GenerationTag(Extension):
    """The tag `{% generation %}…{% endgeneration %}`, which marks assistant text in some templates.

    It is ignored: the renderer finds contents by their position.
    """

    tags = {"generation"}  # noqa: RUF012 (declared without ClassVar by jinja2)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(f"The model's chat template rejects these messages: {message}")


def _strftime_now(format: str) -> str:
    if len(format) > MAX_TIME_FORMAT_CHARACTERS:
        raise ValueError("strftime_now: the format is too long")
    return datetime.now().strftime(format)


def _create_environment() -> TemplateEnvironment:
    environment = TemplateEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols], autoescape=False
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def parse_template(source: str) -> nodes.Template:
    """The syntax tree of a template. Raises what Jinja's parser raises: `TemplateSyntaxError`, `RecursionError`."""
    return _create_environment().parse(source[:MAX_TEMPLATE_CHARACTERS])


@lru_cache(maxsize=32)
def find_template_variables(source: str) -> frozenset[str]:
    """Names of the variables that a template uses; empty if it is invalid, which `apply_chat_template` reports."""
    try:
        tree = parse_template(source)
        return frozenset(node.name for node in tree.find_all(nodes.Name))
    except (jinja2.TemplateSyntaxError, RecursionError):
        return frozenset()


def find_undeclared_variables(source: str) -> set[str]:
    """Names that a valid template reads and does not set itself, without the functions of the sandbox."""
    tree = parse_template(source)
    assert tree.environment is not None
    return meta.find_undeclared_variables(tree) - set(tree.environment.globals)


@lru_cache(maxsize=32)
def _compile(source: str) -> jinja2.Template:
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateError(
            f"The chat template is {len(source):,} characters long; at most {MAX_TEMPLATE_CHARACTERS:,} are allowed."
        )
    try:
        return _create_environment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"The chat template has an error in line {error.lineno}: {error.message}") from error
    except Exception as error:  # of Jinja's parser, or of Python's compiler for the generated code
        raise TemplateError("The chat template cannot be compiled: it is nested too deeply.") from error


def check_template(source: str) -> None:
    """Raise `TemplateError` if a template cannot be compiled."""
    _compile(source)


def apply_chat_template(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    variables: Mapping[str, Any],
    add_generation_prompt: bool,
) -> str:
    """Render `messages` as one text.

    Args:
        source: the template.
        messages: messages in OpenAI's format.
        variables: further variables of the template.
        add_generation_prompt: append the start of an assistant message.

    Raises:
        TemplateError: the template is invalid, rejects the messages, uses a forbidden feature or exceeds its budget.
    """
    defaults = {"tools": None, "documents": None}
    pieces, length = [], 0
    try:
        with render_budget():
            for piece in _compile(source).generate(
                **{**defaults, **variables}, messages=list(messages), add_generation_prompt=add_generation_prompt
            ):
                length += len(piece)
                if length > MAX_VALUE_SIZE:
                    raise TemplateError(f"The output of the chat template has more than {MAX_VALUE_SIZE:,} characters.")
                pieces.append(piece)
    except TemplateError:
        raise
    except Exception as error:  # a template is a program and can raise any error
        reason = "it is nested too deeply" if isinstance(error, RecursionError | MemoryError) else error
        raise TemplateError(f"The chat template failed: {reason}") from error
    return "".join(pieces)
