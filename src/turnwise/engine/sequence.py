"""A request on its way through the engine."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from turnwise.core.ports import GenerationRequest, TokenEvent, TokenLogprobs, Work
from turnwise.engine.sampling.sampler import Shaping
from turnwise.engine.search import Search, start_search
from turnwise.engine.speculation.draft_proposer import NO_DRAFT, Draft, Foresight
from turnwise.engine.kv_cache.kv_cache_manager import Table
from turnwise.engine.sampling.multinomial import Draw

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Line:
    """A line of tokens, prompt and answer, that grows by one at every step.

    `table` says how much of it is in the cache; None where none of it is. `draft` are tokens that perhaps come next.
    """

    ids: list[int]
    shaping: Shaping
    table: Table | None = None
    draft: Draft = NO_DRAFT
    foreseen: int = 0  # tokens of the draft that turned out to be right

    @property
    def behind(self) -> int:
        """Tokens that are not in the cache; at least one, whose logits are what comes next."""
        return len(self.ids) - (self.table.length if self.table is not None else 0)


@dataclass(eq=False)
class Chat:
    """A request, its listener and its lines: one, or a search's beams.

    `cancelled` is set by other threads and read once a step. `arrived` is its place in the order of arrival.
    """

    request: GenerationRequest
    on_event: Callable[[TokenEvent], None]
    draw: Draw
    lines: list[Line]
    search: Search | None = None
    arrived: int = 0
    cancelled: bool = False
    work: Work = field(default_factory=Work)
    begun: bool = False
    passed: int = 0  # how many were let in before it though it was their senior
    foresight: Foresight | None = None
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)

    @classmethod
    def of(cls, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> "Chat":
        """A chat that has not begun."""
        line = Line(list(request.prompt_ids), Shaping(request))
        return cls(request, on_event, Draw.of(request.params), [line], start_search(request))

    @property
    def line(self) -> Line:
        """Its only line, or its first."""
        return self.lines[0]

    @property
    def width(self) -> int:
        """Most lines that it may have."""
        return self.search.width if self.search is not None else 1

    @property
    def draws(self) -> bool:
        """Whether it gets one token after the other, and reports on none of its prompt."""
        return self.search is None and self.request.prompt_output == "nothing"

    @property
    def is_prefilling(self) -> bool:
        """Whether there is more to be read before it can go on."""
        return any(line.behind > 1 for line in self.lines)

    @property
    def wants_hidden(self) -> bool:
        """Whether it goes by hidden states instead of logits."""
        return self.request.prompt_output == "embedding" or (self.search is not None and self.search.hidden)

    @property
    def reads_all(self) -> bool:
        """Whether every token of the prompt has something to tell, so that all are to be read."""
        return self.reports_prompt or (self.search is not None and self.search.reads_all)

    @property
    def shareable(self) -> int:
        """How many of its tokens need not be read where somebody has read them: those that nothing is reported of."""
        if not self.reads_all:
            return len(self.line.ids)
        return self.request.told_from if self.reports_prompt else 0

    def begin_reading(self) -> None:
        """It is read from its beginning, or again."""
        self.prompt_logprobs.clear()
        if self.search is not None:
            self.search.begin()

    @property
    def reports_prompt(self) -> bool:
        """Whether every token of the prompt is still to be reported on."""
        return self.request.prompt_output == "logprobs" and not self.generated

    @property
    def generated(self) -> int:
        """Tokens of the answer so far."""
        return len(self.line.ids) - len(self.request.prompt_ids)

    def cancel(self) -> None:
        """Ask for it to end; it does at the next step."""
        self.cancelled = True

    def tell_each(self, event: TokenEvent) -> None:
        """Report the same of every answer."""
        for index in range(self.request.num_return_sequences):
            self.tell(replace(event, index=index))

    def tell(self, event: TokenEvent) -> None:
        """Report to the listener. One that raises anything has left: its chat ends, and no other notices."""
        try:
            self.on_event(event if self.work == event.work else replace(event, work=self.work))
        except BaseException as error:
            if not self.cancelled:
                log.warning("the listener of a chat failed, so the chat is cancelled: %r", error)
            self.cancelled = True
