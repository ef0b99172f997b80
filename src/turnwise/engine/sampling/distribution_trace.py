"""The distribution of the next token after every stage, computed by the code that samples.

Shapes: V vocabulary, S stages with the logits of the model as the first, K returned tokens.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from turnwise.core.inference import GenerationRequest
from turnwise.core.token_distributions import DistributionTrace, SamplingStage, TokenTrace
from turnwise.engine.generation_errors import NonFiniteLogits, NoTokenAllowed
from turnwise.engine.sampling.multinomial import SamplerState, apply_warpers, sample_tokens
from turnwise.engine.sampling.processors import load_processors
from turnwise.engine.sampling.sampler import SequenceLogitsState
from turnwise.engine.sampling.warpers import load_warpers

GREEDY_STAGE = "temperature"


@torch.inference_mode()
def trace_distribution(
    logits_V: Tensor, request: GenerationRequest, logits_state: SequenceLogitsState
) -> DistributionTrace:
    """Distribution of the next token. `logits_V` are the logits of the model; they are not modified.

    Raises:
        NonFiniteLogits: a logit is not finite.
        NoTokenAllowed: constraints exclude all tokens.
        UserError: a constraint gets too complex to evaluate.
    """
    if not bool(logits_V.isfinite().all()):
        raise NonFiniteLogits()
    logprobs = [logits_V.double().log_softmax(dim=0)]
    stages: list[SamplingStage] = []
    for name, value, reason, stage_V in _run_stages(logits_V, request, logits_state):
        if stage_V.max() == -torch.inf:
            raise NoTokenAllowed()
        stages.append(SamplingStage(name, value, reason, int((stage_V > -torch.inf).sum())))
        logprobs.append(stage_V.double().log_softmax(dim=0))
    logprobs_SV = torch.stack(logprobs)
    raw_V = logprobs_SV[0]
    query = request.distribution
    top_K = torch.maximum(raw_V, logprobs_SV[-1]).topk(min(query.top, len(raw_V))).indices
    ids = {*top_K.tolist(), *query.token_ids}
    ids_K = torch.tensor(sorted(ids), device=raw_V.device)
    ids_K = ids_K[raw_V[ids_K].argsort(descending=True, stable=True)]
    tokens = [
        _trace_token(token_id, 1 + int((raw_V > raw_V[token_id]).sum()), values, request)
        for token_id, values in zip(ids_K.tolist(), logprobs_SV[:, ids_K].T.tolist(), strict=True)
    ]
    return DistributionTrace(tuple(stages), tuple(tokens), len(raw_V))


def _run_stages(
    logits_V: Tensor, request: GenerationRequest, logits_state: SequenceLogitsState
) -> Iterator[tuple[str, Any, str, Tensor]]:
    """Name, value and reason of each stage, and the logits after it, `(V,)`."""
    params, logits_V = request.params, logits_V.clone()
    for stage in logits_state.apply_stages(logits_V):
        if isinstance(stage, str):
            value = params.value(stage)
            reason = _reason(load_processors()[stage], stage, value)
            yield stage, value if isinstance(value, int | float) else None, reason, logits_V
        else:
            yield stage.name, None, stage.reason, logits_V
    state = SamplerState.from_params(params)
    if state.is_greedy:
        greedy_V = torch.full_like(logits_V, -torch.inf)
        greedy_V[sample_tokens(logits_V.unsqueeze(0), [state])] = 0.0
        yield GREEDY_STAGE, params.temperature, _reason(load_warpers()[GREEDY_STAGE], GREEDY_STAGE, 0), greedy_V
        return
    for name, logits_1V in apply_warpers(logits_V.unsqueeze(0).float(), [params]):
        value = params.value(name)
        yield name, value, _reason(load_warpers()[name], name, value), logits_1V[0]


def _reason(module: Any, name: str, value: Any) -> str:
    """The sentence of a stage that removed a token; a plug-in may have none."""
    return str(getattr(module, "REASON", f"Removed by '{name}'.")).format(value=value)


def _trace_token(token_id: int, rank: int, logprobs: list[float], request: GenerationRequest) -> TokenTrace:
    raw, *stage_logprobs = logprobs
    removed_by = next((index for index, value in enumerate(stage_logprobs) if value == -torch.inf), None)
    return TokenTrace(token_id, rank, raw, tuple(stage_logprobs), removed_by, token_id in request.stop_ids)
