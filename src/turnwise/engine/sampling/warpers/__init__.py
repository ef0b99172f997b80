"""Logits warpers: each reshapes the distribution of the next token, for a whole batch. One file per parameter.

A warper file has `ORDER`, its position in the chain, and `apply(logits_BV, value_B) -> logits_BV`. Default, bounds and
the value that switches it off (`neutral`) are declared in `core.parameters`. At that value a row is unchanged. Rows do
not affect each other. `REASON` is a sentence with `{value}` that says why it removes a token.

Present orders: top_n_sigma 5, temperature 10, top_k 20, top_p 30, min_p 40, typical_p 50, epsilon_cutoff 60,
eta_cutoff 70.
"""

from collections.abc import Mapping
from functools import cache
from typing import Protocol

from torch import Tensor

from turnwise.core.parameters import PARAMETER_SPECS
from turnwise.core.plugins import PluginGroup


class LogitsWarper(Protocol):
    """Interface of a warper file."""

    ORDER: int

    def apply(self, logits_BV: Tensor, value_B: Tensor) -> Tensor:
        """The logits, warped with each row's parameter value."""


WARPERS: PluginGroup[LogitsWarper] = PluginGroup(
    "warper", "warpers", (__name__, __path__), requires=("ORDER", "apply"), declared_in=PARAMETER_SPECS
)


@cache
def load_warpers() -> Mapping[str, LogitsWarper]:
    """All warpers by parameter name, in the order in which they apply."""
    return dict(sorted(WARPERS.all().items(), key=lambda item: item[1].ORDER))
