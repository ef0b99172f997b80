"""Limits for one rendering of a chat template: steps, CPU time, and memory.

* `MAX_STEPS` loop iterations, calls and the like, and `MAX_SECONDS` of CPU time.
* `MAX_VALUE_SIZE` characters (or entries, including nested ones) for one value or the output.
* `MAX_TOTAL_SIZE` characters for all values together, which limits the memory of a template.

The longest dialogues need about a hundredth of that.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any, TypeVar

from turnwise.core.errors import TemplateError

MAX_STEPS = 1_000_000
MAX_SECONDS = 5.0  # CPU time of the thread, so that a busy machine does not count
MAX_VALUE_SIZE = 10_000_000
MAX_TOTAL_SIZE = 250_000_000
MAX_INT = 2**63
# Sizes of containers and their entries in characters: approximately their memory in bytes.
CONTAINER_SIZE, ENTRY_SIZE, NEW_ENTRY_SIZE = 256, 16, 64

T = TypeVar("T")
_CONTAINERS: tuple[Any, ...] = (Mapping, list, tuple, set, type({}.items()), type({}.keys()), type({}.values()))


class RenderBudget:
    """What one rendering has used."""

    def __init__(self) -> None:
        self._num_steps = 0
        self._total_size = 0
        self._deadline = time.thread_time() + MAX_SECONDS
        # Sizes of containers by id. The container is stored too, so that its id is not reused.
        self._sizes: dict[int, tuple[int, Any]] = {}

    def count_step(self) -> None:
        """Count one step.

        Raises:
            TemplateError: there are too many steps, or the time is exceeded. All methods raise it beyond a limit.
        """
        self._num_steps += 1
        if self._num_steps > MAX_STEPS or time.thread_time() > self._deadline:
            raise TemplateError(
                f"The chat template did not finish: more than {MAX_STEPS:,} steps or {MAX_SECONDS:g} seconds."
            )

    def charge(self, size: int) -> None:
        """Count a new value of this many characters."""
        self.count_step()
        self._total_size += size
        if size > MAX_VALUE_SIZE or self._total_size > MAX_TOTAL_SIZE:
            raise TemplateError(
                f"The chat template generates too much text: more than {MAX_VALUE_SIZE:,} characters in one value, or "
                f"{MAX_TOTAL_SIZE:,} in total."
            )

    def charge_value(self, value: T) -> T:
        """Count a new value, and return it."""
        if isinstance(value, str):
            self.charge(len(value))
        elif isinstance(value, list | tuple | dict):
            self.measure(value)
            self.charge(CONTAINER_SIZE + ENTRY_SIZE * len(value))
        elif isinstance(value, int) and abs(value) > MAX_INT:
            raise TemplateError("The chat template uses integers of more than 64 bits.")
        else:
            self.count_step()
        return value

    def measure(self, value: Any) -> int:
        """Approximate length of a value as text.

        A list that contains one list twice, which contains another list twice, and so on, is small in memory and huge
        as text. Sizes are cached, so this is fast.
        """
        if isinstance(value, str):
            return len(value) + 4
        if not isinstance(value, _CONTAINERS):
            return 20
        if cached := self._sizes.get(id(value)):
            return cached[0]
        items: Iterable[Any] = chain.from_iterable(value.items()) if isinstance(value, Mapping) else value
        size = 1
        for item in items:
            size += self.measure(item)
            if size > MAX_VALUE_SIZE:
                raise TemplateError(f"The chat template creates a list of more than {MAX_VALUE_SIZE:,} characters.")
        self._sizes[id(value)] = size, value
        return size

    def to_text(self, value: Any) -> str:
        """A value as text of the output."""
        self.measure(value)
        return self.charge_value(value if isinstance(value, str) else str(value))

    def join(self, values: Iterable[Any], separator: str = "") -> str:
        """The texts of `values`, joined."""
        texts, size = [], 0
        for value in values:
            texts.append(self.to_text(value))
            size += len(texts[-1]) + len(separator)
            if size > MAX_VALUE_SIZE:
                self.charge(size)
        return self.charge_value(separator.join(texts))

    def replace(self, text: str, old: str, new: str, count: int = -1) -> str:
        """`text.replace(old, new, count)`; the size of the result is charged before it is created."""
        num_matches = text.count(old)
        num_replaced = num_matches if count < 0 else min(num_matches, count)
        self.charge(len(text) + num_replaced * max(len(new) - len(old), 0))
        return text.replace(old, new, count)


_CURRENT: ContextVar[RenderBudget] = ContextVar("_CURRENT")


@contextmanager
def render_budget() -> Iterator[RenderBudget]:
    """Count everything that a template does in this block against a new budget."""
    token = _CURRENT.set(RenderBudget())
    try:
        yield _CURRENT.get()
    finally:
        _CURRENT.reset(token)


def current_budget() -> RenderBudget:
    """The budget of the current rendering."""
    return _CURRENT.get()
