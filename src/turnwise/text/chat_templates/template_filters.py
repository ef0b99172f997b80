"""Filters of chat templates: Jinja's filters with bounded work, and replacements for the others.

Filters with a leading underscore are not for templates: `sandbox.py` inserts them around expressions that Jinja
evaluates itself, to count them.
"""

import json
from collections.abc import Iterable, Iterator
from functools import wraps
from typing import Any, TypeVar

import jinja2
from jinja2.filters import FILTERS, do_indent, do_round, make_attrgetter
from jinja2.runtime import Context
from jinja2.utils import pass_context, pass_environment

from turnwise.text.chat_templates.render_budget import current_budget

MAX_INDENT = 16

T = TypeVar("T")

# Filters of Jinja whose result is not larger than their input.
_JINJA_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "int",
    "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "safe",
    "select", "selectattr", "sort", "title", "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip


def metered(function: Any) -> Any:
    """A filter or test whose calls and results are counted against the budget."""

    @wraps(function)  # also copies the attribute that makes Jinja pass a context
    def counted(*args: Any, **kwargs: Any) -> Any:
        budget = current_budget()
        for value in args:
            budget.measure(value)
        return budget.charge_value(function(*args, **kwargs))

    return counted


@pass_context
def _count_iterations(_: Context, values: Iterable[T]) -> Iterator[T]:
    budget = current_budget()
    for value in values:
        budget.count_step()
        yield value


@pass_context
def _concat(_: Context, values: Iterable[Any]) -> str:
    return current_budget().join(values)


@pass_context
def _charge(_: Context, value: T) -> T:
    return current_budget().charge_value(value)


@pass_environment
def _join(environment: jinja2.Environment, value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        value = map(make_attrgetter(environment, attribute), value)
    return current_budget().join(value, str(d))


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    budget = current_budget()
    return budget.replace(budget.to_text(value), str(old), str(new), -1 if count is None else count)


def _indent(value: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    indent_size = len(width) if isinstance(width, str) else width
    current_budget().charge(len(value) + (len(value.splitlines()) + 1) * indent_size)
    return do_indent(value, width, first, blank)


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > 20:
        raise ValueError(f"round: cannot round to {precision} digits")
    return do_round(value, precision, method)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as in transformers: unlike in Jinja, nothing is escaped for HTML, and keys keep their order."""
    if indent is not None and not 0 <= indent <= MAX_INDENT:
        raise ValueError(f"tojson: cannot indent by {indent}")
    budget = current_budget()
    budget.measure(value)
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return budget.join(encoder.iterencode(value))


_REPLACEMENTS: dict[str, Any] = {
    "_count_iterations": _count_iterations,
    "_concat": _concat,
    "_charge": _charge,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "string": lambda value: current_budget().to_text(value),
    "tojson": _tojson,
}


def allowed_filters() -> dict[str, Any]:
    """All filters for templates. Their work is counted against the budget."""
    return {name: metered(FILTERS[name]) for name in _JINJA_FILTERS} | _REPLACEMENTS
