"""What a chat template may do, and how much of it.

A template is a program out of somebody else's folder. Jinja's immutable sandbox keeps it away from Python (a template
in a downloaded folder has been a way to run code in other programs: CVE-2024-34359), but lets it run for ever or fill
the memory. Here every loop round, call, filter, comparison and new value passes a `Budget`, and only those methods and
filters are known whose work is bounded by what they are given:

* `MAX_STEPS` loop rounds, calls and the like, and `MAX_SECONDS` of processor time;
* `MAX_VALUE` characters (or entries, nested ones counted) for any one value, the whole rendering included;
* `MAX_MADE` characters for all values together, which bounds the memory that a template can hold on to.

The longest dialogues need a hundredth of that.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from itertools import chain
from typing import Any, TypeVar, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, do_indent, do_round, make_attrgetter
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace, pass_context, pass_environment
from jinja2.visitor import NodeTransformer

from turnwise.core.errors import TemplateError

MAX_STEPS = 1_000_000
MAX_SECONDS = 5.0  # of this thread's processor time, so a busy machine does not count against a template
MAX_VALUE = 10_000_000
MAX_MADE = 250_000_000
MAX_INT = 2**63
MAX_INDENT = 16
# What a list counts as in `MAX_MADE`, in characters: about as much as it takes memory.
CONTAINER, ENTRY, NEW_ENTRY = 256, 16, 64

T = TypeVar("T")


class Budget:
    """What one rendering may still use up."""

    def __init__(self) -> None:
        self._steps = 0
        self._made = 0
        self._until = time.thread_time() + MAX_SECONDS
        self._weights: dict[int, tuple[int, Any]] = {}  # by id; the value is kept so that its id stays its own

    def step(self) -> None:
        """Count one step."""
        self._steps += 1
        if self._steps > MAX_STEPS or time.thread_time() > self._until:
            raise TemplateError(
                f"The chat template does not come to an end: it took {self._steps:,} steps "
                f"({MAX_STEPS:,} in {MAX_SECONDS:g} s are allowed)."
            )

    def make(self, size: int) -> None:
        """Count a value of this many characters."""
        self.step()
        self._made += size
        if size > MAX_VALUE or self._made > MAX_MADE:
            raise TemplateError(
                f"The chat template makes too much text: more than {MAX_VALUE:,} characters at once, or {MAX_MADE:,} "
                "in all."
            )

    def made(self, value: T) -> T:
        """Count a value that has just been made, and return it."""
        if isinstance(value, str):
            self.make(len(value))
        elif isinstance(value, list | tuple | dict):
            self.weigh(value)
            self.make(CONTAINER + ENTRY * len(value))
        elif isinstance(value, int) and abs(value) > MAX_INT:
            raise TemplateError("The chat template calculates with numbers of more than 64 bits.")
        else:
            self.step()
        return value

    def weigh(self, value: Any) -> int:
        """About how long a value is when written out; raises where that is too long.

        Lists that hold the same list twice, which holds another one twice, are small in memory and endless on paper.
        """
        if isinstance(value, str):
            return len(value) + 4
        if not isinstance(value, Mapping | list | tuple | set | type({}.items()) | type({}.keys()) | type({}.values())):
            return 20
        if known := self._weights.get(id(value)):
            return known[0]
        parts: Iterable[Any] = chain.from_iterable(value.items()) if isinstance(value, Mapping) else value
        weight = 1
        for part in parts:
            weight += self.weigh(part)
            if weight > MAX_VALUE:
                raise TemplateError(f"The chat template makes a list of more than {MAX_VALUE:,} characters.")
        self._weights[id(value)] = weight, value
        return weight

    def text(self, value: Any) -> str:
        """A value as it is written into the rendering."""
        self.weigh(value)
        return self.made(value if isinstance(value, str) else str(value))

    def join(self, parts: Iterable[Any], separator: str = "") -> str:
        """The texts of `parts` with `separator` between them."""
        texts, size = [], 0
        for part in parts:
            texts.append(self.text(part))
            size += len(texts[-1]) + len(separator)
            if size > MAX_VALUE:
                self.make(size)
        return self.made(separator.join(texts))

    def replace(self, text: str, old: str, new: str, count: int = -1) -> str:
        """`text.replace`, measured beforehand."""
        found = text.count(old)
        self.make(len(text) + (found if count < 0 else min(found, count)) * max(len(new) - len(old), 0))
        return text.replace(old, new, count)


_BUDGET: ContextVar[Budget] = ContextVar("_BUDGET")


@contextmanager
def budgeted() -> Iterator[Budget]:
    """Whatever a template does inside this block counts against one fresh budget."""
    token = _BUDGET.set(Budget())
    try:
        yield _BUDGET.get()
    finally:
        _BUDGET.reset(token)


# Methods whose result is bounded by their arguments. Not among them: format, center, ljust, rjust, zfill, expandtabs,
# translate, encode, to_bytes and all that change a value.
TEXT_METHODS = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal",
    "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "join", "lower",
    "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit",
    "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
})  # fmt: skip
DICT_METHODS = frozenset({"get", "items", "keys", "values"})
LIST_METHODS = frozenset({"count", "index"})
_JINJA_OBJECTS = (BlockReference, Cycler, Joiner, LoopContext, Macro, Namespace, TemplateReference, Undefined)

# Filters of Jinja's own whose result is bounded by their input.
_PLAIN_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "int",
    "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "safe",
    "select", "selectattr", "sort", "title", "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip


class _Namespace(Namespace):
    """`namespace()` whose attributes a template can set, but not those that mean something to Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that an attribute may be called `self`
        self, *given = args
        attributes = dict(*given, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)

    def __repr__(self) -> str:
        return "<Namespace>"  # namespaces may hold each other, which written out would never end


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError(f"a namespace cannot have an attribute {name!r}")


class _Meter(NodeTransformer):
    """Leads through a filter of ours what Jinja would otherwise compute without asking anybody."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _led_through("_rounds", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _led_through("_concat", nodes.List(node.nodes, lineno=node.lineno, environment=node.environment))

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _led_through("_made", node) if node.ctx == "load" else node

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        """A macro's further arguments are lists that nobody wrote down."""
        return _led_through("_made", node) if node.name in ("varargs", "kwargs") and node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _led_through("_made", node) if isinstance(node.arg, nodes.Slice) else node

    def _visit_made(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _led_through("_made", node)

    visit_List = visit_Dict = visit_Compare = _visit_made


def _led_through(filter: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(
        cast(nodes.Expr, node), filter, [], [], None, None, lineno=node.lineno, environment=node.environment
    )


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox with a budget; see the top of this file."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=lambda value: _BUDGET.get().text(value))
        self.filters = {name: _counted(FILTERS[name]) for name in _PLAIN_FILTERS} | _FILTERS
        self.tests = {name: _counted(test) for name, test in self.tests.items()}
        self.globals = {
            "range": self.globals["range"],  # the sandbox's own, of at most 100,000 numbers
            "dict": lambda *args, **kwargs: dict(*args, **kwargs),  # the class itself would hand out its methods
            "namespace": _Namespace,
            "cycler": Cycler,
            "joiner": Joiner,
        }

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Meter().visit(source), *args, **kwargs)

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """How Jinja joins what macros and `{% set %}` blocks have written."""
        return _BUDGET.get().join(parts)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Known methods of plain values, and what Jinja's own objects offer."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, str):
            return attr in TEXT_METHODS
        if isinstance(obj, dict):
            return attr in DICT_METHODS
        if isinstance(obj, list | tuple):
            return attr in LIST_METHODS
        return isinstance(obj, _JINJA_OBJECTS)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002
        """`format` gets no special way in: it is not among the known methods."""
        return

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Every call of a template. The names leave all others to the template's own arguments."""
        budget = _BUDGET.get()
        for value in (*args, *(value for name, value in kwargs.items() if not name.startswith("_"))):
            budget.weigh(value)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", None)
        if isinstance(owner, str) and name in ("join", "replace"):
            __obj = partial(_join_texts if name == "join" else budget.replace, owner)
        result = super().call(__context, __obj, *args, **kwargs)
        if isinstance(owner, str) and isinstance(result, list):
            budget.make(NEW_ENTRY * len(result))
        return budget.made(result)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Operators that can make much out of little."""
        budget = _BUDGET.get()
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or (operator == "%" and not numbers):
            raise TemplateError(f"The chat template uses '{operator}' to raise powers or format text; it may not.")
        if operator == "*" and not numbers:
            times = next((side for side in (left, right) if isinstance(side, int)), 1)
            budget.make((budget.weigh(left) + budget.weigh(right)) * max(times, 1))
        return budget.made(super().call_binop(context, operator, left, right))


def _counted(function: Any) -> Any:
    """A filter or test that counts as a step, and its result as made."""

    @wraps(function)  # also takes over whether Jinja is to pass a context
    def counted(*args: Any, **kwargs: Any) -> Any:
        budget = _BUDGET.get()
        for value in args:
            budget.weigh(value)
        return budget.made(function(*args, **kwargs))

    return counted


def _join_texts(separator: str, parts: Iterable[Any]) -> str:
    """`str.join`, which unlike the filter does not write out what is no text."""
    parts = list(parts)
    for part in parts:
        if not isinstance(part, str):
            raise TypeError(f"join: expected texts, found {type(part).__name__}")
    return _BUDGET.get().join(parts, separator)


@pass_context
def _rounds(_: Context, values: Iterable[T]) -> Iterator[T]:
    budget = _BUDGET.get()
    for value in values:
        budget.step()
        yield value


@pass_context
def _concat(_: Context, parts: Iterable[Any]) -> str:
    return _BUDGET.get().join(parts)


@pass_context
def _made(_: Context, value: T) -> T:
    return _BUDGET.get().made(value)


@pass_environment
def _join(environment: jinja2.Environment, value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        value = map(make_attrgetter(environment, attribute), value)
    return _BUDGET.get().join(value, str(d))


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    budget = _BUDGET.get()
    return budget.replace(budget.text(value), str(old), str(new), -1 if count is None else count)


def _indent(value: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    _BUDGET.get().make(len(value) + (len(value.splitlines()) + 1) * (len(width) if isinstance(width, str) else width))
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
    """As transformers has it, not as Jinja does: nothing is escaped for HTML, and keys keep their order."""
    if indent is not None and not 0 <= indent <= MAX_INDENT:
        raise ValueError(f"tojson: cannot indent by {indent}")
    budget = _BUDGET.get()
    budget.weigh(value)
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return budget.join(encoder.iterencode(value))


_FILTERS: dict[str, Any] = {
    "_rounds": _rounds,
    "_concat": _concat,
    "_made": _made,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "string": lambda value: _BUDGET.get().text(value),
    "tojson": _tojson,
}
