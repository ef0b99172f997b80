"""The state of a request in the engine: a group of token sequences (Kwon et al. 2023, section 4.4)."""

import logging
from dataclasses import dataclass, field, replace

from turnwise.core.inference import EventListener, GenerationEvent, GenerationRequest, RequestStats, TokenLogprobs
from turnwise.engine.kv_cache.kv_cache_manager import BlockTable
from turnwise.engine.sampling.multinomial import SamplerState
from turnwise.engine.sampling.sampler import SequenceLogitsState
from turnwise.engine.search import Search, start_search
from turnwise.engine.speculation.draft_proposer import NO_DRAFT, Draft, SequenceDraftState

log = logging.getLogger(__name__)


@dataclass(eq=False)
class TokenSequence:
    """Prompt and output tokens of one answer or one hypothesis of a search.

    Attributes:
        ids: prompt, then output.
        logits_state: processors and constraints with their state.
        table: its blocks in the KV cache; None while it has none.
        draft: tokens that may come next, to be verified in the next forward pass.
        num_accepted: how many draft tokens the last forward pass has verified as correct.
    """

    ids: list[int]
    logits_state: SequenceLogitsState
    table: BlockTable | None = None
    draft: Draft = NO_DRAFT
    num_accepted: int = 0

    @property
    def num_uncomputed_tokens(self) -> int:
        """Tokens without keys and values in the cache; at least 1, the one whose logits give the next token."""
        return len(self.ids) - (self.table.num_computed_tokens if self.table is not None else 0)


@dataclass(eq=False)
class SequenceGroup:
    """A request, its listener and its sequences: one, or the hypotheses of a search.

    Attributes:
        request: the request.
        on_event: called with every event, from the engine's thread.
        sampler_state: sampling parameters and random numbers.
        sequences: one, or one for each hypothesis of the search.
        search: the search, or None for sampling.
        arrival_index: position in the order of arrival.
        is_cancelled: set from any thread, read once a step.
        stats: token counts reported with the events.
        is_started: True once it was admitted for the first time.
        num_overtaken: number of requests that have overtaken it while it waited; bounds starvation of wide searches.
        draft_state: state of speculative decoding; None before the first draft.
        prompt_logprobs: log-probabilities of the prompt tokens that are computed so far.
    """

    request: GenerationRequest
    on_event: EventListener
    sampler_state: SamplerState
    sequences: list[TokenSequence]
    search: Search | None = None
    arrival_index: int = 0
    is_cancelled: bool = False
    stats: RequestStats = field(default_factory=RequestStats)
    is_started: bool = False
    num_overtaken: int = 0
    draft_state: SequenceDraftState | None = None
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)

    @classmethod
    def from_request(cls, request: GenerationRequest, on_event: EventListener) -> "SequenceGroup":
        """A group with one sequence, the prompt."""
        sequence = TokenSequence(list(request.prompt_ids), SequenceLogitsState(request))
        return cls(request, on_event, SamplerState.from_params(request.params), [sequence], start_search(request))

    @property
    def sequence(self) -> TokenSequence:
        """Its only sequence, or the first one of a search."""
        return self.sequences[0]

    @property
    def max_sequences(self) -> int:
        """Upper bound on the number of sequences."""
        return self.search.max_sequences if self.search is not None else 1

    @property
    def can_draft(self) -> bool:
        """True if it samples one token after another and returns nothing about its prompt."""
        return self.search is None and self.request.prompt_output == "nothing"

    @property
    def is_prefilling(self) -> bool:
        """True while prefill is not finished."""
        return any(sequence.num_uncomputed_tokens > 1 for sequence in self.sequences)

    @property
    def needs_hidden_states(self) -> bool:
        """True if it uses last hidden states instead of logits."""
        return self.request.prompt_output == "embedding" or (
            self.search is not None and self.search.needs_hidden_states
        )

    @property
    def needs_prompt_outputs(self) -> bool:
        """True if outputs are needed for every prompt token, which limits the use of the prefix cache."""
        return self.needs_prompt_logprobs or (self.search is not None and self.search.needs_prompt_outputs)

    @property
    def max_prefix_match(self) -> int:
        """Number of first tokens that may come from the prefix cache: those whose outputs are not needed."""
        if not self.needs_prompt_outputs:
            return len(self.sequence.ids)
        return self.request.prompt_logprobs_start if self.needs_prompt_logprobs else 0

    def restart_prefill(self) -> None:
        """Drop prompt outputs before the prompt is computed, for the first time or after a preemption."""
        self.prompt_logprobs.clear()
        if self.search is not None:
            self.search.restart()

    @property
    def needs_prompt_logprobs(self) -> bool:
        """True while log-probabilities of the prompt are still to be returned."""
        return self.request.prompt_output == "logprobs" and not self.num_generated_tokens

    @property
    def num_generated_tokens(self) -> int:
        """Output tokens so far."""
        return len(self.sequence.ids) - len(self.request.prompt_ids)

    def cancel(self) -> None:
        """End the request at the next step. Safe to call from any thread."""
        self.is_cancelled = True

    def emit_to_all(self, event: GenerationEvent) -> None:
        """Send the same event for every answer of the request."""
        for index in range(self.request.num_return_sequences):
            self.emit(replace(event, index=index))

    def emit(self, event: GenerationEvent) -> None:
        """Send an event to the listener. If the listener raises, only this request is cancelled."""
        try:
            self.on_event(event if self.stats == event.stats else replace(event, stats=self.stats))
        except BaseException as error:
            if not self.is_cancelled:
                log.warning("the event listener of a request raised %r; the request is cancelled", error)
            self.is_cancelled = True
