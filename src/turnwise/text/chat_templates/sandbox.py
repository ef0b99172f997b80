"""What a chat template may do.

A template is a program out of somebody else's folder. Jinja's immutable sandbox keeps it away from Python (a template
in a downloaded folder has been a way to run code in other programs: CVE-2024-34359), but lets it run for ever or fill
the memory. Here every loop round, call, filter, comparison and new value passes a budget (`budget.py`), and only those
methods and filters are known whose work is bounded by what they are given.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace
from jinja2.visitor import NodeTransformer

from turnwise.core.errors import TemplateError
from turnwise.text.chat_templates.render_budget import NEW_ENTRY, current_budget
from turnwise.text.chat_templates.template_filters import allowed_filters, metered

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


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox with a budget; see the top of this file."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=lambda value: current_budget().text(value))
        self.filters = allowed_filters()
        self.tests = {name: metered(test) for name, test in self.tests.items()}
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
        return current_budget().join(parts)

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
        budget = current_budget()
        for value in (*args, *(value for name, value in kwargs.items() if not name.startswith("_"))):
            budget.measure(value)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", None)
        if isinstance(owner, str) and name in ("join", "replace"):
            __obj = partial(_join_texts if name == "join" else budget.replace, owner)
        result = super().call(__context, __obj, *args, **kwargs)
        if isinstance(owner, str) and isinstance(result, list):
            budget.charge(NEW_ENTRY * len(result))
        return budget.charge_value(result)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Operators that can make much out of little."""
        budget = current_budget()
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or (operator == "%" and not numbers):
            raise TemplateError(f"The chat template uses '{operator}' to raise powers or format text; it may not.")
        if operator == "*" and not numbers:
            times = next((side for side in (left, right) if isinstance(side, int)), 1)
            budget.charge((budget.measure(left) + budget.measure(right)) * max(times, 1))
        return budget.charge_value(super().call_binop(context, operator, left, right))


def _join_texts(separator: str, parts: Iterable[Any]) -> str:
    """`str.join`, which unlike the filter does not write out what is no text."""
    parts = list(parts)
    for part in parts:
        if not isinstance(part, str):
            raise TypeError(f"join: expected texts, found {type(part).__name__}")
    return current_budget().join(parts, separator)
