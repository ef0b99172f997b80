"""The inference port: generation requests, their events, and the interfaces of engines and constraints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from turnwise.core.errors import TurnwiseError
from turnwise.core.messages import Question
from turnwise.core.parameters import GenerationParams
from turnwise.core.scheduling_options import SchedulingOptions
from turnwise.core.token_distributions import BeamTree, DistributionQuery, DistributionTrace

if TYPE_CHECKING:  # numpy is slow to import, and the command line imports this module
    from numpy import bool_
    from numpy.typing import NDArray

FinishReason = Literal["stop", "length", "tool_calls", "cancelled", "error"]
Quantization = Literal["int8", "int4"]  # of weights


class ConstraintState(Protocol):
    """A constraint with its state for one sequence. Shapes: V vocabulary.

    Attributes:
        name: its name among the sampling stages.
        reason: why it removes tokens, as a sentence.
    """

    name: str
    reason: str

    def token_mask(self) -> "NDArray[bool_] | None":
        """Which tokens may come next, `(V,)`; None if all may. Raises `UserError` if the constraint is too complex."""

    def accept(self, token: int) -> None:
        """Update the state with the sampled token."""

    def fork(self) -> "ConstraintState":
        """An independent copy for another hypothesis."""

    @property
    def is_complete(self) -> bool:
        """True if no further token is allowed: the answer ends here."""


class Constraint(Protocol):
    """A restriction on answers, such as a grammar or words that must not occur."""

    def start(self) -> ConstraintState:
        """The state at the start of an answer."""


PromptOutput = Literal["nothing", "logprobs", "embedding", "distribution"]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Input of the engine for one answer, or for the answers of one search.

    Attributes:
        prompt_ids: token ids of the prompt, with the start of the answer if it is given.
        num_answer_ids: number of last prompt tokens that are the start of the answer: penalties and constraints count
            them as output.
        params: sampling and search parameters.
        max_tokens: maximum number of output tokens; the caller bounds it by the context. 0 computes the prompt only.
        stop_ids: tokens that end the answer.
        constraints: restrictions on the answer.
        prompt_output: what to return about the prompt. With "embedding" and "distribution" nothing is generated.
        prompt_logprobs_start: index of the first prompt token to return a logprob for; earlier tokens may come from the
            prefix cache.
        distribution: which tokens of the distribution to return, with the prompt output "distribution".
        trace_search: return the tree of a beam search (`SearchTraceEvent`).
        num_return_sequences: number of answers to return, best first; only beam search supports more than 1.
        scope: prefix-cache namespace: the `cache_scope` of `scheduling`, to which engines add the adapter or the input
            of the encoder. Only requests with the same scope share KV blocks, which avoids a timing side channel.
        scheduling: scheduling options: the tenant, for round-robin fairness, and the order of its requests.
        prediction: predicted output, as token ids; used as a draft.
        encoder_ids: input of the encoder, for encoder-decoders; `prompt_ids` are then the decoder's start tokens.
        adapter: name of a LoRA adapter; empty for none.
        template_stops: texts that end the answer besides `params.stop`, by the chat template. The receiver of the
            tokens looks for both.
        question: what the prompt asks. An engine of several models may choose one by it; no engine computes with it.
    """

    prompt_ids: tuple[int, ...]
    params: GenerationParams
    max_tokens: int
    stop_ids: frozenset[int]
    constraints: tuple[Constraint, ...] = ()
    prompt_output: PromptOutput = "nothing"
    prompt_logprobs_start: int = 0
    num_return_sequences: int = 1
    scope: str = ""
    scheduling: SchedulingOptions = field(default_factory=SchedulingOptions)
    prediction: tuple[int, ...] = ()
    encoder_ids: tuple[int, ...] = ()
    adapter: str = ""
    template_stops: tuple[str, ...] = ()
    question: Question = field(default=Question(), repr=False)  # message content stays out of logs
    num_answer_ids: int = 0
    distribution: DistributionQuery = field(default_factory=DistributionQuery)
    trace_search: bool = False

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """All texts that end the answer."""
        return tuple(dict.fromkeys((*self.params.stop, *self.template_stops)))


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probability of a token, and `(token id, logprob)` of the most likely tokens at its position, best first."""

    logprob: float
    top_logprobs: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class RequestStats:
    """Token counts of a request.

    Attributes:
        cached_tokens: prompt tokens served from the prefix cache.
        accepted_prediction_tokens: tokens of the predicted output that are part of the answer.
        rejected_prediction_tokens: tokens of the predicted output that were computed in vain.
        accepted_draft_tokens: tokens of the answer that a draft of any source had right.
    """

    cached_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    accepted_draft_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """The next output token.

    Attributes:
        token_id: the token; never a stop id.
        finish_reason: why the answer ends with this token; None while it continues.
        logprobs: log-probabilities of the token, if the request asks for them.
        index: index of the answer.
        stats: token counts of the request so far.
    """

    token_id: int
    finish_reason: FinishReason | None = None
    logprobs: TokenLogprobs | None = None
    index: int = 0
    stats: RequestStats = RequestStats()


@dataclass(frozen=True, slots=True)
class PromptEvent:
    """Outputs for the prompt.

    Attributes:
        prompt_logprobs: log-probabilities of the prompt tokens from `prompt_logprobs_start` on, without the first token
            of the prompt, which has no context.
        embedding: embedding of the prompt, of length 1.
        distribution: distribution of the token after the prompt.
        finish_reason: set if the request generates no tokens.
        index: index of the answer.
        stats: token counts of the request so far.
    """

    prompt_logprobs: tuple[TokenLogprobs, ...] = ()
    embedding: tuple[float, ...] | None = None
    distribution: DistributionTrace | None = None
    finish_reason: FinishReason | None = None
    index: int = 0
    stats: RequestStats = RequestStats()


@dataclass(frozen=True, slots=True)
class FinishEvent:
    """The end of an answer without another token: at a stop id, or because the request was cancelled.

    Attributes:
        finish_reason: why the answer ended.
        stop_id: stop id that ended the answer, if the engine knows it.
        logprobs: log-probabilities of the stop id, if the request asks for them.
        index: index of the answer.
        stats: token counts of the request so far.
    """

    finish_reason: FinishReason
    stop_id: int | None = None
    logprobs: TokenLogprobs | None = None
    index: int = 0
    stats: RequestStats = RequestStats()


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The end of an answer by an error.

    Attributes:
        error: why the answer ended; a `UserError` if the request caused it.
        index: index of the answer.
        stats: token counts of the request so far.
    """

    error: TurnwiseError
    index: int = 0
    stats: RequestStats = RequestStats()

    @property
    def finish_reason(self) -> FinishReason:
        """Always "error"."""
        return "error"


@dataclass(frozen=True, slots=True)
class SearchTraceEvent:
    """The tree of a beam search, before the last tokens of its answers; it ends no answer."""

    tree: BeamTree
    finish_reason: None = None
    index: int = 0
    stats: RequestStats = RequestStats()


GenerationEvent = TokenEvent | PromptEvent | FinishEvent | ErrorEvent | SearchTraceEvent
EventListener = Callable[[GenerationEvent], None]


class RequestHandle(Protocol):
    """A submitted request."""

    def cancel(self) -> None:
        """End the request at the next step. Idempotent; safe from any thread and after the end."""


class InferenceEngine(Protocol):
    """Generates tokens for many requests at once.

    Attributes:
        is_encoder_decoder: True if the prompt is the input of an encoder, so that answers do not continue it.
    """

    is_encoder_decoder: bool

    @property
    def context_length(self) -> int:
        """Maximum number of tokens of prompt and answer together; for encoder-decoders of each."""

    def max_new_tokens(self, prompt_length: int) -> int:
        """Maximum number of tokens of an answer to a prompt of this length; negative if the prompt is too long."""

    @property
    def is_healthy(self) -> bool:
        """False once it has stopped after an error; requests are then rejected."""

    def submit(self, request: GenerationRequest, on_event: EventListener) -> RequestHandle:
        """Queue a request. `on_event` is called from the engine's thread and must not block."""

    def close(self) -> None:
        """Stop. Unfinished requests end as cancelled."""
