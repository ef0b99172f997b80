"""Searches: decoding strategies that keep several hypotheses. One file each.

A search file has `start(request) -> Search | None`; None if the request does not use it. Sampling token by token needs
no search (`scheduling/decode_step.py`).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

from torch import Tensor

from turnwise.core.inference import GenerationEvent, GenerationRequest
from turnwise.core.plugins import PluginGroup
from turnwise.engine.sampling.sampler import SequenceLogitsState


class Hypothesis(Protocol):
    """A partial answer that the search extends."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Output tokens so far."""

    @property
    def logits_state(self) -> SequenceLogitsState:
        """Processors and constraints with their state."""

    @property
    def parent(self) -> int:
        """Index of the hypothesis of the previous forward pass that it extends."""


class Search(Protocol):
    """The search for one request's answers. It starts with one sequence, the prompt.

    Shapes: L hypotheses, R prompt tokens, X is V (logits) or C (hidden states).

    Attributes:
        max_sequences: upper bound on the number of hypotheses.
        needs_hidden_states: True if it uses last hidden states instead of logits.
    """

    max_sequences: int
    needs_hidden_states: bool

    @property
    def hypotheses(self) -> Sequence[Hypothesis]:
        """Hypotheses to compute in the next forward pass."""

    @property
    def is_done(self) -> bool:
        """True once the events of all answers have been returned."""

    @property
    def needs_prompt_outputs(self) -> bool:
        """True if it needs outputs for every prompt token, so the prefix cache cannot be used."""

    def restart(self) -> None:
        """Called before the prompt is computed, for the first time or after a preemption."""

    def observe_prompt(self, out_RX: Tensor, /) -> None:
        """Receive outputs of prompt tokens before the last one, if `needs_prompt_outputs`."""

    def advance(self, out_LX: Tensor, logits_of: Callable[[Tensor], Tensor], /) -> list[GenerationEvent]:
        """Extend all hypotheses by one token. Returns the events that are certain by now; at the end, all answers.

        Args:
            out_LX: logits or hidden states of each hypothesis's last token.
            logits_of: computes logits from hidden states.
        """


class SearchModule(Protocol):
    """Interface of a search file."""

    def start(self, request: GenerationRequest) -> Search | None:
        """The search for this request, or None if its parameters do not ask for it."""


SEARCHES: PluginGroup[SearchModule] = PluginGroup("search", "searches", (__name__, __path__), requires=("start",))


@cache
def load_searches() -> tuple[SearchModule, ...]:
    """All search modules, by name."""
    return tuple(SEARCHES.all().values())


def start_search(request: GenerationRequest) -> Search | None:
    """The search that a request uses, or None for sampling. The first one by name if several apply."""
    return next((search for module in load_searches() if (search := module.start(request)) is not None), None)
