"""Decoding strategies. One file each: drawing token by token (`sample.py`), and searches, which read several lines.

A search's file has `start(request) -> Search | None`; None means that the request does not want it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from turnwise.core.ports import GenerationRequest, TokenEvent
from turnwise.engine.sampling.sampler import LogitsProcessors
from turnwise.engine.search import beam, contrastive


class Hypothesis(Protocol):
    """A line that a search goes on with. `parent` is the number of the line it extends, in the pass before."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The answer so far."""

    @property
    def logits_processors(self) -> LogitsProcessors:
        """What changes its logits."""

    @property
    def parent(self) -> int:
        """The number of the line it extends, in the pass before."""


class Search(Protocol):
    """A search at work for one request. It begins with one line, the prompt. Shapes: L lines, R tokens.

    Attributes:
        width: most lines that it may have.
        hidden: whether it goes by last hidden states instead of logits.
    """

    width: int
    hidden: bool

    @property
    def hypotheses(self) -> Sequence[Hypothesis]:
        """The lines to be read further, after a step."""

    @property
    def done(self) -> bool:
        """Whether all answers have been told."""

    @property
    def needs_prompt_outputs(self) -> bool:
        """Whether it wants to know of every token of the prompt, which is then read anew."""

    def begin(self) -> None:
        """The prompt is read from its beginning, or again."""

    def saw(self, out_RX: Tensor, /) -> None:
        """What a pass gave for tokens of the prompt before its last, where it wants to know."""

    def advance(self, out_LX: Tensor, logits_of: Callable[[Tensor], Tensor], /) -> list[TokenEvent]:
        """Bring all lines one token further; what is certain by now, and at the end the answers.

        Args:
            out_LX: logits, or hidden states, after the last token of each line.
            logits_of: from hidden states to logits.
        """


def start_search(request: GenerationRequest) -> Search | None:
    """The search that a request wants; None where it draws one token after the other."""
    return beam.start(request) or contrastive.start(request)
