"""A request on its way through the engine."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from turnwise.core.ports import GenerationRequest, RequestStats, TokenEvent, TokenLogprobs
from turnwise.engine.kv_cache.kv_cache_manager import BlockTable
from turnwise.engine.sampling.multinomial import SamplerState
from turnwise.engine.sampling.sampler import LogitsProcessors
from turnwise.engine.search import Search, start_search
from turnwise.engine.speculation.draft_proposer import NO_DRAFT, Draft, SequenceDraftState

log = logging.getLogger(__name__)


@dataclass(eq=False)
class TokenSequence:
    """A line of tokens, prompt and answer, that grows by one at every step.

    `table` says how much of it is in the cache; None where none of it is. `draft` are tokens that perhaps come next.
    """

    ids: list[int]
    logits_processors: LogitsProcessors
    table: BlockTable | None = None
    draft: Draft = NO_DRAFT
    num_accepted: int = 0  # tokens of the draft that turned out to be right

    @property
    def num_uncached_tokens(self) -> int:
        """Tokens that are not in the cache; at least one, whose logits are what comes next."""
        return len(self.ids) - (self.table.length if self.table is not None else 0)


@dataclass(eq=False)
class SequenceGroup:
    """A request, its listener and its lines: one, or a search's beams.

    `cancelled` is set by other threads and read once a step. `arrived` is its place in the order of arrival.
    """

    request: GenerationRequest
    on_event: Callable[[TokenEvent], None]
    draw: SamplerState
    lines: list[TokenSequence]
    search: Search | None = None
    arrival_index: int = 0
    cancelled: bool = False
    stats: RequestStats = field(default_factory=RequestStats)
    begun: bool = False
    starvation_count: int = 0  # how many were let in before it though it was their senior
    draft_state: SequenceDraftState | None = None
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)

    @classmethod
    def of(cls, request: GenerationRequest, on_event: Callable[[TokenEvent], None]) -> "SequenceGroup":
        """A chat that has not begun."""
        line = TokenSequence(list(request.prompt_ids), LogitsProcessors(request))
        return cls(request, on_event, SamplerState.of(request.params), [line], start_search(request))

    @property
    def line(self) -> TokenSequence:
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
        return any(line.num_uncached_tokens > 1 for line in self.lines)

    @property
    def needs_hidden_states(self) -> bool:
        """Whether it goes by hidden states instead of logits."""
        return self.request.prompt_output == "embedding" or (self.search is not None and self.search.hidden)

    @property
    def needs_prompt_outputs(self) -> bool:
        """Whether every token of the prompt has something to tell, so that all are to be read."""
        return self.needs_prompt_logprobs or (self.search is not None and self.search.needs_prompt_outputs)

    @property
    def max_prefix_match(self) -> int:
        """How many of its tokens need not be read where somebody has read them: those that nothing is reported of."""
        if not self.needs_prompt_outputs:
            return len(self.line.ids)
        return self.request.prompt_logprobs_start if self.needs_prompt_logprobs else 0

    def restart_prefill(self) -> None:
        """It is read from its beginning, or again."""
        self.prompt_logprobs.clear()
        if self.search is not None:
            self.search.begin()

    @property
    def needs_prompt_logprobs(self) -> bool:
        """Whether every token of the prompt is still to be reported on."""
        return self.request.prompt_output == "logprobs" and not self.num_generated_tokens

    @property
    def num_generated_tokens(self) -> int:
        """Tokens of the answer so far."""
        return len(self.line.ids) - len(self.request.prompt_ids)

    def cancel(self) -> None:
        """Ask for it to end; it does at the next step."""
        self.cancelled = True

    def emit_to_all(self, event: TokenEvent) -> None:
        """Report the same of every answer."""
        for index in range(self.request.num_return_sequences):
            self.emit(replace(event, index=index))

    def emit(self, event: TokenEvent) -> None:
        """Report to the listener. One that raises anything has left: its chat ends, and no other notices."""
        try:
            self.on_event(event if self.stats == event.stats else replace(event, stats=self.stats))
        except BaseException as error:
            if not self.cancelled:
                log.warning("the listener of a chat failed, so the chat is cancelled: %r", error)
            self.cancelled = True
