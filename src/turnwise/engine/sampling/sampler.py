"""Samples the next token of every sequence of a batch.

Order: logits of the model → logits processors and constraints → log-probabilities to return → warpers and the draw
(`multinomial.py`).
"""

import logging
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from turnwise.core.errors import TurnwiseError, UserError
from turnwise.core.inference import ConstraintState, GenerationRequest, TokenLogprobs
from turnwise.engine.generation_errors import GenerationFailed, NonFiniteLogits, NoTokenAllowed
from turnwise.engine.sampling.multinomial import SamplerState, sample_tokens_at
from turnwise.engine.sampling.processors import LogitsProcessor, start_processors
from turnwise.engine.sampling.prompt_outputs import compute_logprobs

log = logging.getLogger(__name__)


class SequenceLogitsState:
    """State of the logits processors and constraints of one sequence."""

    def __init__(self, request: GenerationRequest) -> None:
        num_prompt_ids = len(request.prompt_ids) - request.num_answer_ids
        answer_ids = request.prompt_ids[num_prompt_ids:]
        if answer_ids:
            request = replace(request, prompt_ids=request.prompt_ids[:num_prompt_ids])
        self._processors: dict[str, LogitsProcessor] = start_processors(request)
        self._constraints: list[ConstraintState] = [constraint.start() for constraint in request.constraints]
        for token_id in answer_ids:
            self.accept(token_id)

    @property
    def is_empty(self) -> bool:
        """True if the logits are used as they are."""
        return not self._processors and not self._constraints

    def apply(self, logits_V: Tensor) -> None:
        """Modify logits in place. Raises `UserError` if a constraint gets too complex to evaluate."""
        for _ in self.apply_stages(logits_V):
            pass

    def apply_stages(self, logits_V: Tensor) -> Iterator[str | ConstraintState]:
        """Modify logits in place; yields after each stage the name of the processor, or the constraint."""
        for name, processor in self._processors.items():
            processor.apply(logits_V)
            yield name
        for constraint in self._constraints:
            mask_V = constraint.token_mask()
            if mask_V is not None:
                # The model's vocabulary may be larger than the tokenizer's (padding rows), or smaller.
                size = min(len(mask_V), len(logits_V))
                logits_V[size:] = -torch.inf
                logits_V[:size].masked_fill_(~torch.from_numpy(mask_V[:size]).to(logits_V.device), -torch.inf)
            yield constraint

    def accept(self, token_id: int) -> None:
        """Update the state with the sampled token."""
        for processor in self._processors.values():
            processor.accept(token_id)
        for constraint in self._constraints:
            constraint.accept(token_id)

    def fork(self) -> "SequenceLogitsState":
        """An independent copy for another hypothesis."""
        forked = copy(self)
        forked._processors = {name: processor.fork() for name, processor in self._processors.items()}
        forked._constraints = [constraint.fork() for constraint in self._constraints]
        return forked

    @property
    def is_complete(self) -> bool:
        """True if a constraint allows no further token: the answer ends here."""
        return any(constraint.is_complete for constraint in self._constraints)


@dataclass(frozen=True, slots=True)
class SamplerOutput:
    """The sampled token with its log-probabilities, or the error that ends the request.

    `token_id` is meaningless if there is an `error`.
    """

    token_id: int
    logprobs: TokenLogprobs | None = None
    error: TurnwiseError | None = None


@torch.inference_mode()
def sample_batch(
    logits_BV: Tensor, states: Sequence[SamplerState], logits_states: Sequence[SequenceLogitsState]
) -> list[SamplerOutput]:
    """Sample one token per row. An exception costs only the row that caused it.

    Args:
        logits_BV: B sequences, V vocabulary. Modified in place.
        states: sampling parameters and random numbers of each row.
        logits_states: logits processors and constraints of each row.
    """
    # Minimum and maximum are finite only if all logits are; NaN propagates to both.
    is_finite_B = (logits_BV.amin(dim=1) > -torch.inf) & (logits_BV.amax(dim=1) < torch.inf)
    errors: list[TurnwiseError | None] = [
        None if is_finite else NonFiniteLogits() for is_finite in is_finite_B.tolist()
    ]
    for row, logits_state in enumerate(logits_states):
        if not logits_state.is_empty and errors[row] is None:
            errors[row] = _apply_logits_state(logits_state, logits_BV[row])
    failed_rows = [row for row, error in enumerate(errors) if error is not None]
    if failed_rows:
        logits_BV[failed_rows] = 0.0  # warpers need valid logits; the tokens of these rows are not used
    # Draw the random numbers first, so that repeating a failed batch row by row uses the same ones.
    uniforms = [state.next_uniform() for state in states]
    try:
        token_ids = sample_tokens_at(logits_BV, states, uniforms)
        logprobs = _requested_logprobs(logits_BV, token_ids, states)
    except BaseException:
        log.exception("sampling a batch failed; its rows are sampled one by one")
        token_ids, logprobs = _sample_one_by_one(logits_BV, states, uniforms, errors)
    return [
        SamplerOutput(token_id, row_logprobs, error)
        for token_id, row_logprobs, error in zip(token_ids, logprobs, errors, strict=True)
    ]


def _apply_logits_state(logits_state: SequenceLogitsState, logits_V: Tensor) -> TurnwiseError | None:
    """Apply the processors and constraints of one row; the error that ends its request, if any."""
    try:
        logits_state.apply(logits_V)
    except UserError as error:
        return error
    except BaseException:  # includes panics of the grammar library, which are not Exceptions
        log.exception("a logits processor or constraint of a request failed")
        return GenerationFailed()
    return NoTokenAllowed() if logits_V.max() == -torch.inf else None


def _sample_one_by_one(
    logits_BV: Tensor, states: Sequence[SamplerState], uniforms: Sequence[float], errors: list[TurnwiseError | None]
) -> tuple[list[int], list[TokenLogprobs | None]]:
    """The result of the batch without the rows that cannot be sampled; sets the errors of those rows."""
    token_ids, logprobs = [0] * len(states), [None] * len(states)  # type: tuple[list[int], list[TokenLogprobs | None]]
    for row, state in enumerate(states):
        logits_1V = logits_BV[row : row + 1]
        try:
            token_ids[row : row + 1] = sample_tokens_at(logits_1V, [state], uniforms[row : row + 1])
            logprobs[row : row + 1] = _requested_logprobs(logits_1V, token_ids[row : row + 1], [state])
        except BaseException:
            log.exception("sampling the token of one request failed")
            errors[row] = errors[row] or GenerationFailed()
    return token_ids, logprobs


def _requested_logprobs(
    logits_BV: Tensor, token_ids: Sequence[int], states: Sequence[SamplerState]
) -> list[TokenLogprobs | None]:
    """Log-probabilities of the rows whose requests ask for them; None for the others."""
    logprobs: list[TokenLogprobs | None] = [None] * len(token_ids)
    rows = [row for row, state in enumerate(states) if state.params.logprobs]
    if not rows:
        return logprobs
    top = [states[row].params.top_logprobs for row in rows]
    row_token_ids = [token_ids[row] for row in rows]
    for row, row_logprobs in zip(rows, compute_logprobs(logits_BV[rows], row_token_ids, top), strict=True):
        logprobs[row] = row_logprobs
    return logprobs
