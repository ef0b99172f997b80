"""Decoding rules: each shapes the next token's distribution for a whole batch. One file each, named as its parameter.

A rule has `ORDER`, its place in the chain, and `apply(logits_BV, value_B) -> logits_BV`. Its parameter (default,
bounds, off value, help) is declared in `core.parameters`. At its off value a rule changes nothing, and rows do not see
each other.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

from torch import Tensor

from turnwise.core.parameters import PARAMETER_SPECS


class LogitsWarper(Protocol):
    """What a rule file offers."""

    ORDER: int

    def apply(self, logits_BV: Tensor, value_B: Tensor) -> Tensor:
        """Logits shaped by each row's value."""


@cache
def rules() -> Mapping[str, LogitsWarper]:
    """All rules by parameter name, in the order in which they apply."""
    found = {
        module.name: cast(LogitsWarper, import_module(f"{__name__}.{module.name}")) for module in iter_modules(__path__)
    }
    unknown = found.keys() - PARAMETER_SPECS.keys()
    assert not unknown, f"rules without a declared parameter: {unknown}"
    return dict(sorted(found.items(), key=lambda item: item[1].ORDER))
