"""Contrastive search (Su et al. 2022): likely tokens that do not repeat what was written before.

Of the k most likely tokens v, the next is the one with the highest

    (1 − α) · p(v | x) − α · max { cos(h_v, h_j) : j in x }

where h are last hidden states, including those of the prompt: a token whose state is similar to an earlier one adds
nothing new. α is `penalty_alpha`, k is `top_k`. To obtain h_v, every candidate is computed as a sequence of its own.
The logits of the chosen one are then available for the next choice, so an answer takes one forward pass of k sequences
per token.

Shapes: L candidates, R tokens of prompt and output, K most likely tokens, C hidden size, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.core.errors import TurnwiseError, UserError
from turnwise.core.inference import (
    ErrorEvent,
    FinishEvent,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    TokenEvent,
)
from turnwise.engine.generation_errors import NonFiniteLogits, NoTokenAllowed
from turnwise.engine.sampling.prompt_outputs import compute_logprobs
from turnwise.engine.sampling.sampler import SequenceLogitsState


@dataclass(frozen=True, slots=True)
class Candidate:
    """The output so far and one more token; `parent` is the index of the previous pass's candidate that it extends."""

    ids: tuple[int, ...]
    probability: float
    logits_state: SequenceLogitsState
    parent: int


class ContrastiveSearch:
    """Contrastive search for one request (implements `search.Search`)."""

    needs_hidden_states = True

    def __init__(self, request: GenerationRequest) -> None:
        self._request, self._params = request, request.params
        self.max_sequences = request.params.top_k
        self._logits_state = SequenceLogitsState(request)
        self._output: tuple[int, ...] = ()
        self._context: list[Tensor] = []  # normalised hidden states of prompt and output, `(R, C)` each
        self._logits_1V = torch.empty(0)
        self.hypotheses: list[Candidate] = []
        self.needs_prompt_outputs = True  # until the first token is chosen
        self.is_done = False

    def restart(self) -> None:
        """Drop the prompt's hidden states, which are about to be computed again."""
        if self.needs_prompt_outputs:
            self._context.clear()

    def observe_prompt(self, hidden_RC: Tensor, /) -> None:
        """Add hidden states to the context."""
        self._context.append(torch.nn.functional.normalize(hidden_RC.float(), dim=1))

    @torch.inference_mode()
    def advance(self, hidden_LC: Tensor, logits_of: Callable[[Tensor], Tensor], /) -> list[GenerationEvent]:
        """Choose one of the candidates and propose the next ones.

        Args:
            hidden_LC: hidden state of each of `hypotheses`; at the start, that of the prompt's last token.
            logits_of: computes logits, `(L, V)`, from hidden states.
        """
        if not bool(hidden_LC.isfinite().all()):
            return self._fail(NonFiniteLogits())
        events, chosen = [], 0
        if self.hypotheses:
            chosen = self._choose(hidden_LC)
            events.append(self._append(self.hypotheses[chosen]))
        self.needs_prompt_outputs = False
        if not self.is_done:
            chosen_1C = hidden_LC[chosen : chosen + 1]
            self.observe_prompt(chosen_1C)
            self._logits_1V = logits_of(chosen_1C)
            events += self._propose(chosen)
        return events

    def _choose(self, hidden_LC: Tensor) -> int:
        """Index of the candidate with the highest contrastive score."""
        context_RC = torch.cat(self._context)
        self._context = [context_RC]
        similarity_L = (torch.nn.functional.normalize(hidden_LC.float(), dim=1) @ context_RC.T).amax(dim=1)
        probability_L = torch.tensor([candidate.probability for candidate in self.hypotheses]).to(similarity_L)
        alpha = self._params.penalty_alpha
        return int(((1 - alpha) * probability_L - alpha * similarity_L).argmax())

    def _append(self, candidate: Candidate) -> GenerationEvent:
        """Make a candidate the output; the event says whether the request has finished."""
        token_id = candidate.ids[-1]
        if token_id in self._request.stop_ids:
            self.is_done = True
            return FinishEvent("stop")
        logprobs = None
        if self._params.logprobs:
            (logprobs,) = compute_logprobs(self._logits_1V, [token_id], [self._params.top_logprobs])
        self._output = candidate.ids
        self._logits_state.accept(token_id)
        finish_reason: FinishReason | None = None
        if self._logits_state.is_complete:
            finish_reason = "stop"
        elif len(self._output) >= self._request.max_tokens:
            finish_reason = "length"
        self.is_done = finish_reason is not None
        return TokenEvent(token_id, finish_reason, logprobs=logprobs)

    def _propose(self, parent: int) -> list[GenerationEvent]:
        """Set `hypotheses` to the k most likely next tokens. Returns an error event, if any."""
        if not bool(self._logits_1V.isfinite().all()):
            return self._fail(NonFiniteLogits())
        if not self._logits_state.is_empty:
            try:
                self._logits_state.apply(self._logits_1V[0])
            except UserError as error:
                return self._fail(error)
        if self._logits_1V.max() == -torch.inf:
            return self._fail(NoTokenAllowed())
        probabilities_K, token_ids_K = (
            self._logits_1V[0].float().softmax(dim=0).topk(min(self._params.top_k, self._logits_1V.shape[1]))
        )
        self.hypotheses = [
            Candidate((*self._output, token_id), probability, self._logits_state, parent)
            for probability, token_id in zip(probabilities_K.tolist(), token_ids_K.tolist(), strict=True)
            if probability
        ]
        return []

    def _fail(self, error: TurnwiseError) -> list[GenerationEvent]:
        self.is_done = True
        return [ErrorEvent(error)]


def start(request: GenerationRequest) -> ContrastiveSearch | None:
    """None if `penalty_alpha` is 0."""
    return ContrastiveSearch(request) if request.params.penalty_alpha else None
