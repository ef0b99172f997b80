"""Sandbox for chat templates.

Templates are untrusted programs. Jinja's immutable sandbox prevents access to Python (other programs have executed code
from templates of downloaded folders: CVE-2024-34359), but not endless loops or huge values. This sandbox counts every
loop iteration, call, filter, comparison and new value against a budget (`render_budget.py`), and allows only methods
and filters whose work is bounded by their arguments.
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
from turnwise.text.chat_templates.render_budget import NEW_ENTRY_SIZE, current_budget
from turnwise.text.chat_templates.template_filters import allowed_filters, metered

# Methods whose result is bounded by their arguments. Not allowed: format, center, ljust, rjust, zfill, expandtabs,
# translate, encode, to_bytes and methods that modify a value.
STR_METHODS = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal",
    "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "join", "lower",
    "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit",
    "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
})  # fmt: skip
DICT_METHODS = frozenset({"get", "items", "keys", "values"})
LIST_METHODS = frozenset({"count", "index"})
_JINJA_OBJECTS = (BlockReference, Cycler, Joiner, LoopContext, Macro, Namespace, TemplateReference, Undefined)


class _Namespace(Namespace):
    """`namespace()` of templates. Attributes with a leading underscore are rejected."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # no parameter `self`: an attribute may have this name
        self, *positional = args
        attributes = dict(*positional, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)

    def __repr__(self) -> str:
        return "<Namespace>"  # namespaces may contain each other


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError(f"a namespace cannot have an attribute {name!r}")


class _BudgetTransformer(NodeTransformer):
    """Inserts filters that count what Jinja evaluates without a hook."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _apply_filter("_count_iterations", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _apply_filter("_concat", nodes.List(node.nodes, lineno=node.lineno, environment=node.environment))

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _apply_filter("_charge", node) if node.ctx == "load" else node

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        """`varargs` and `kwargs` of a macro are new containers without a literal."""
        return _apply_filter("_charge", node) if node.name in ("varargs", "kwargs") and node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _apply_filter("_charge", node) if isinstance(node.arg, nodes.Slice) else node

    def _visit_new_value(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _apply_filter("_charge", node)

    visit_List = visit_Dict = visit_Compare = _visit_new_value


def _apply_filter(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(
        cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno, environment=node.environment
    )


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox with a budget."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=lambda value: current_budget().to_text(value))
        self.filters = allowed_filters()
        self.tests = {name: metered(test) for name, test in self.tests.items()}
        self.globals = {
            "range": self.globals["range"],  # the sandbox's range, with at most 100,000 numbers
            "dict": lambda *args, **kwargs: dict(*args, **kwargs),  # a function, since a class has methods
            "namespace": _Namespace,
            "cycler": Cycler,
            "joiner": Joiner,
        }

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_BudgetTransformer().visit(source), *args, **kwargs)

    @staticmethod
    def concat(texts: Iterable[str]) -> str:
        """Join the output of macros and `{% set %}` blocks."""
        return current_budget().join(texts)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """True for the allowed methods of values, and for attributes of Jinja's objects."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, str):
            return attr in STR_METHODS
        if isinstance(obj, dict):
            return attr in DICT_METHODS
        if isinstance(obj, list | tuple):
            return attr in LIST_METHODS
        return isinstance(obj, _JINJA_OBJECTS)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002
        """No wrapper for `str.format`, since it is not allowed."""
        return

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call an object. The parameter names are mangled, so that they cannot equal argument names of the template."""
        budget = current_budget()
        for value in (*args, *(value for name, value in kwargs.items() if not name.startswith("_"))):
            budget.measure(value)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", None)
        if isinstance(owner, str) and name in ("join", "replace"):
            __obj = partial(_join_texts if name == "join" else budget.replace, owner)
        result = super().call(__context, __obj, *args, **kwargs)
        if isinstance(owner, str) and isinstance(result, list):
            budget.charge(NEW_ENTRY_SIZE * len(result))
        return budget.charge_value(result)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator whose result can be much larger than its operands."""
        budget = current_budget()
        are_numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or (operator == "%" and not are_numbers):
            raise TemplateError(
                f"The chat template uses '{operator}' for powers or text formatting. This is not allowed."
            )
        if operator == "*" and not are_numbers:
            factor = next((operand for operand in (left, right) if isinstance(operand, int)), 1)
            budget.charge((budget.measure(left) + budget.measure(right)) * max(factor, 1))
        return budget.charge_value(super().call_binop(context, operator, left, right))


def _join_texts(separator: str, texts: Iterable[Any]) -> str:
    """`str.join`. Unlike the filter `join`, it does not convert values to text."""
    texts = list(texts)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"join: expected text, got {type(text).__name__}")
    return current_budget().join(texts, separator)
