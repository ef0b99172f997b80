"""One step's choice: for every chat the next token, or why there is none.

In order: the model's logits → processors and constraints of each chat → log-probabilities, where asked for → rules and
the draw (`sampler.py`).
"""

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.core.errors import UserError
from turnwise.core.ports import ConstraintState, GenerationRequest, TokenLogprobs
from turnwise.engine.sampling.multinomial import SamplerState, sample_at
from turnwise.engine.sampling.processors import LogitsProcessor, start_processors
from turnwise.engine.sampling.prompt_outputs import compute_logprobs

log = logging.getLogger(__name__)

NON_FINITE_LOGITS = "The model's numbers overflowed; another type of weights (bfloat16, float32) has more room."
GENERATION_FAILED = "The model failed while generating."  # an exception that nobody expected; the log has it
NO_TOKEN_ALLOWED = "No token is allowed next: what was asked for contradicts itself."  # noqa: S105 (no password)


class LogitsProcessors:
    """What changes one chat's logits: its processors and constraints, started when it begins."""

    def __init__(self, request: GenerationRequest) -> None:
        self._processors: list[LogitsProcessor] = start_processors(request)
        self._constraints: list[ConstraintState] = [constraint.start() for constraint in request.constraints]

    @property
    def idle(self) -> bool:
        """Whether nothing is changed."""
        return not self._processors and not self._constraints

    def apply(self, logits_V: Tensor) -> None:
        """Change the logits in place. Raises `UserError` where a constraint got too hard to follow."""
        for processor in self._processors:
            processor.apply(logits_V)
        for constraint in self._constraints:
            allowed_V = constraint.token_mask()
            if allowed_V is not None:
                # The model may have more rows than the tokenizer has ids, or fewer.
                known = min(len(allowed_V), len(logits_V))
                logits_V[known:] = -torch.inf
                logits_V[:known].masked_fill_(~torch.from_numpy(allowed_V[:known]).to(logits_V.device), -torch.inf)

    def accept(self, token: int) -> None:
        """Tell them what was chosen."""
        for processor in self._processors:
            processor.accept(token)
        for constraint in self._constraints:
            constraint.accept(token)

    def fork(self) -> "LogitsProcessors":
        """The same for a second answer, which goes its own way from here."""
        twin = copy(self)
        twin._processors = [processor.fork() for processor in self._processors]
        twin._constraints = [constraint.fork() for constraint in self._constraints]
        return twin

    @property
    def is_complete(self) -> bool:
        """Whether a constraint says that the answer is whole."""
        return any(constraint.is_complete for constraint in self._constraints)


@dataclass(frozen=True, slots=True)
class SamplerOutput:
    """The next token with its log-probabilities, or the error that ends the chat; `users` where it asked for it."""

    token: int
    logprobs: TokenLogprobs | None = None
    error: str | None = None
    is_client_error: bool = False


@torch.inference_mode()
def choose(
    logits_BV: Tensor, draws: Sequence[SamplerState], shapings: Sequence[LogitsProcessors]
) -> list[SamplerOutput]:
    """The next token of every chat; `logits_BV` is changed. An exception costs only the chat that it concerns."""
    # Both bounds are finite only if all between them are; what is no number is in neither.
    sound_B = (logits_BV.amin(dim=1) > -torch.inf) & (logits_BV.amax(dim=1) < torch.inf)
    errors = [None if sound else NON_FINITE_LOGITS for sound in sound_B.tolist()]
    for row, logits_processors in enumerate(shapings):
        if not logits_processors.idle and errors[row] is None:
            try:
                logits_processors.apply(logits_BV[row])
            except UserError as error:
                errors[row] = str(error)
            except BaseException:  # also a panic of the grammar library, which is no Exception
                log.exception("a processor or constraint of a chat failed")
                errors[row] = GENERATION_FAILED
            else:
                if logits_BV[row].max() == -torch.inf:
                    errors[row] = NO_TOKEN_ALLOWED
    broken = [row for row, error in enumerate(errors) if error is not None]
    if broken:
        logits_BV[broken] = 0.0  # nobody will see what is drawn there, but rules need something to draw from
    uniform = [draw.uniform() for draw in draws]  # first, so that a second try draws the same
    try:
        tokens = sample_at(logits_BV, draws, uniform)
        reports = _report(logits_BV, tokens, draws)
    except BaseException:
        log.exception("sampling a batch failed; its rows are sampled one by one")
        tokens, reports = _one_by_one(logits_BV, draws, uniform, errors)
    return [
        SamplerOutput(token, report, error, is_client_error=error not in (None, NON_FINITE_LOGITS, GENERATION_FAILED))
        for token, report, error in zip(tokens, reports, errors, strict=True)
    ]


def _one_by_one(
    logits_BV: Tensor, draws: Sequence[SamplerState], uniform: Sequence[float], errors: list[str | None]
) -> tuple[list[int], list[TokenLogprobs | None]]:
    """What a batch would have given, where one of its rows cannot be sampled; that row's error is set."""
    tokens, reports = [0] * len(draws), [None] * len(draws)  # type: tuple[list[int], list[TokenLogprobs | None]]
    for row, draw in enumerate(draws):
        own_1V = logits_BV[row : row + 1]
        try:
            tokens[row : row + 1] = sample_at(own_1V, [draw], uniform[row : row + 1])
            reports[row : row + 1] = _report(own_1V, tokens[row : row + 1], [draw])
        except BaseException:
            log.exception("sampling a chat's token failed")
            errors[row] = errors[row] or GENERATION_FAILED
    return tokens, reports


def _report(logits_BV: Tensor, tokens: Sequence[int], draws: Sequence[SamplerState]) -> list[TokenLogprobs | None]:
    """Log-probabilities for the rows that want them."""
    found: list[TokenLogprobs | None] = [None] * len(tokens)
    rows = [row for row, draw in enumerate(draws) if draw.params.logprobs]
    if not rows:
        return found
    wanted = [draws[row].params.top_logprobs for row in rows]
    for row, report in zip(rows, compute_logprobs(logits_BV[rows], [tokens[row] for row in rows], wanted), strict=True):
        found[row] = report
    return found
