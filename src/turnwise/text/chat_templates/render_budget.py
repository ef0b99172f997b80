"""How much a chat template may do: steps, processor time, and the memory of what it makes.

* `MAX_STEPS` loop rounds, calls and the like, and `MAX_SECONDS` of processor time;
* `MAX_VALUE` characters (or entries, nested ones counted) for any one value, the whole rendering included;
* `MAX_MADE` characters for all values together, which bounds the memory that a template can hold on to.

The longest dialogues need a hundredth of that.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any, TypeVar

from turnwise.core.errors import TemplateError

MAX_STEPS = 1_000_000
MAX_SECONDS = 5.0  # of this thread's processor time, so a busy machine does not count against a template
MAX_VALUE = 10_000_000
MAX_MADE = 250_000_000
MAX_INT = 2**63
# What a list counts as in `MAX_MADE`, in characters: about as much as it takes memory.
CONTAINER, ENTRY, NEW_ENTRY = 256, 16, 64

T = TypeVar("T")


class RenderBudget:
    """What one rendering may still use up."""

    def __init__(self) -> None:
        self._steps = 0
        self._made = 0
        self._until = time.thread_time() + MAX_SECONDS
        self._weights: dict[int, tuple[int, Any]] = {}  # by id; the value is kept so that its id stays its own

    def count_step(self) -> None:
        """Count one step."""
        self._steps += 1
        if self._steps > MAX_STEPS or time.thread_time() > self._until:
            raise TemplateError(
                f"The chat template does not come to an end: it took {self._steps:,} steps "
                f"({MAX_STEPS:,} in {MAX_SECONDS:g} s are allowed)."
            )

    def charge(self, size: int) -> None:
        """Count a value of this many characters."""
        self.count_step()
        self._made += size
        if size > MAX_VALUE or self._made > MAX_MADE:
            raise TemplateError(
                f"The chat template makes too much text: more than {MAX_VALUE:,} characters at once, or {MAX_MADE:,} "
                "in all."
            )

    def charge_value(self, value: T) -> T:
        """Count a value that has just been made, and return it."""
        if isinstance(value, str):
            self.charge(len(value))
        elif isinstance(value, list | tuple | dict):
            self.measure(value)
            self.charge(CONTAINER + ENTRY * len(value))
        elif isinstance(value, int) and abs(value) > MAX_INT:
            raise TemplateError("The chat template calculates with numbers of more than 64 bits.")
        else:
            self.count_step()
        return value

    def measure(self, value: Any) -> int:
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
            weight += self.measure(part)
            if weight > MAX_VALUE:
                raise TemplateError(f"The chat template makes a list of more than {MAX_VALUE:,} characters.")
        self._weights[id(value)] = weight, value
        return weight

    def text(self, value: Any) -> str:
        """A value as it is written into the rendering."""
        self.measure(value)
        return self.charge_value(value if isinstance(value, str) else str(value))

    def join(self, parts: Iterable[Any], separator: str = "") -> str:
        """The texts of `parts` with `separator` between them."""
        texts, size = [], 0
        for part in parts:
            texts.append(self.text(part))
            size += len(texts[-1]) + len(separator)
            if size > MAX_VALUE:
                self.charge(size)
        return self.charge_value(separator.join(texts))

    def replace(self, text: str, old: str, new: str, count: int = -1) -> str:
        """`text.replace`, measured beforehand."""
        found = text.count(old)
        self.charge(len(text) + (found if count < 0 else min(found, count)) * max(len(new) - len(old), 0))
        return text.replace(old, new, count)


_CURRENT: ContextVar[RenderBudget] = ContextVar("_CURRENT")


@contextmanager
def render_budget() -> Iterator[RenderBudget]:
    """Whatever a template does inside this block counts against one fresh budget."""
    token = _CURRENT.set(RenderBudget())
    try:
        yield _CURRENT.get()
    finally:
        _CURRENT.reset(token)


def current_budget() -> RenderBudget:
    """The budget of the rendering under way."""
    return _CURRENT.get()
