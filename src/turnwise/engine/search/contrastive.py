"""Contrastive search (Su et al. 2022): likely tokens that do not make the text turn in circles.

Of the k likeliest tokens v the next is the one of highest

    (1 − α) · p(v | x) − α · max { cos(h_v, h_j) : j in x }

with h the last hidden states, of the prompt's tokens too: a token whose state is like an earlier one's says nothing
new. α is `penalty_alpha`, k is `top_k`. To know h_v every candidate is read as a line of its own; the chosen one's
logits are then there for the next choice, so an answer takes a pass of k lines for each token.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.core.errors import UserError
from turnwise.core.ports import FinishReason, GenerationRequest, TokenEvent
from turnwise.engine.sampling.prompt_outputs import compute_logprobs
from turnwise.engine.sampling.sampler import NO_TOKEN_ALLOWED, NON_FINITE_LOGITS, LogitsProcessors


@dataclass(frozen=True, slots=True)
class Candidate:
    """The answer so far and one more token. `parent` is the number of the line it extends, in the pass before."""

    ids: tuple[int, ...]
    probability: float
    logits_processors: LogitsProcessors
    parent: int


class ContrastiveSearch:
    """The search for one request's answer (the `decoders.Search` protocol).

    Shapes: L lines, R tokens of the prompt, C hidden size, V vocabulary.
    """

    hidden = True

    def __init__(self, request: GenerationRequest) -> None:
        self._request, self._params = request, request.params
        self.width = request.params.top_k
        self._shaping = LogitsProcessors(request)
        self._said: tuple[int, ...] = ()
        self._context: list[Tensor] = []  # states of all tokens so far, of length 1, `(R, C)` at a time
        self._logits_1V = torch.empty(0)
        self.hypotheses: list[Candidate] = []
        self.needs_prompt_outputs = True  # until it has begun
        self.done = False

    def begin(self) -> None:
        """The prompt is read from its beginning, or again."""
        if self.needs_prompt_outputs:
            self._context.clear()

    def saw(self, hidden_RC: Tensor, /) -> None:
        """The states of tokens that are part of the text."""
        self._context.append(torch.nn.functional.normalize(hidden_RC.float(), dim=1))

    @torch.inference_mode()
    def advance(self, hidden_LC: Tensor, logits_of: Callable[[Tensor], Tensor], /) -> list[TokenEvent]:
        """One token further.

        Args:
            hidden_LC: the state after each of `branches`; at the beginning that of the prompt's last token.
            logits_of: from states to logits, `(L, V)`.
        """
        if not bool(hidden_LC.isfinite().all()):
            return self._failed(NON_FINITE_LOGITS, is_client_error=False)
        events, parent = [], 0
        if self.hypotheses:
            parent = self._choose(hidden_LC)
            events.append(self._take(self.hypotheses[parent]))
        self.needs_prompt_outputs = False
        if not self.done:
            chosen_1C = hidden_LC[parent : parent + 1]
            self.saw(chosen_1C)
            self._logits_1V = logits_of(chosen_1C)
            events += self._propose(parent)
        return events

    def _choose(self, hidden_LC: Tensor) -> int:
        context_RC = torch.cat(self._context)
        self._context = [context_RC]
        likeness_L = (torch.nn.functional.normalize(hidden_LC.float(), dim=1) @ context_RC.T).amax(dim=1)
        probability_L = torch.tensor([branch.probability for branch in self.hypotheses]).to(likeness_L)
        alpha = self._params.penalty_alpha
        return int(((1 - alpha) * probability_L - alpha * likeness_L).argmax())

    def _take(self, candidate: Candidate) -> TokenEvent:
        token = candidate.ids[-1]
        if token in self._request.stop_ids:
            self.done = True
            return TokenEvent(None, "stop")
        report = None
        if self._params.logprobs:
            (report,) = compute_logprobs(self._logits_1V, [token], [self._params.top_logprobs])
        self._said = candidate.ids
        self._shaping.accept(token)
        finish: FinishReason | None = None
        if self._shaping.is_complete:
            finish = "stop"
        elif len(self._said) >= self._request.max_tokens:
            finish = "length"
        self.done = finish is not None
        return TokenEvent(token, finish, logprobs=report)

    def _propose(self, parent: int) -> list[TokenEvent]:
        """The likeliest tokens next; what went wrong, if anything."""
        if not bool(self._logits_1V.isfinite().all()):
            return self._failed(NON_FINITE_LOGITS, is_client_error=False)
        if not self._shaping.idle:
            try:
                self._shaping.apply(self._logits_1V[0])
            except UserError as error:
                return self._failed(str(error), is_client_error=True)
        if self._logits_1V.max() == -torch.inf:
            return self._failed(NO_TOKEN_ALLOWED, is_client_error=True)
        probabilities_K, tokens_K = (
            self._logits_1V[0].float().softmax(dim=0).topk(min(self._params.top_k, self._logits_1V.shape[1]))
        )
        self.hypotheses = [
            Candidate((*self._said, token), probability, self._shaping, parent)
            for probability, token in zip(probabilities_K.tolist(), tokens_K.tolist(), strict=True)
            if probability
        ]
        return []

    def _failed(self, error: str, *, is_client_error: bool) -> list[TokenEvent]:
        self.done = True
        return [TokenEvent(None, "error", error, is_client_error=is_client_error)]


def start(request: GenerationRequest) -> ContrastiveSearch | None:
    """None at 0."""
    return ContrastiveSearch(request) if request.params.penalty_alpha else None
