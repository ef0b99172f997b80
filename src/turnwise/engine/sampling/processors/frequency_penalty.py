"""Frequency penalty (OpenAI API): zᵢ − cᵢ · α, where cᵢ is the number of occurrences of token i in the output."""

from turnwise.core.inference import GenerationRequest
from turnwise.engine.sampling.count_penalty import CountPenalty

ORDER = 20


def start(request: GenerationRequest) -> CountPenalty | None:
    """None if the penalty is 0."""
    alpha = request.params.frequency_penalty
    return None if alpha == 0 else CountPenalty(lambda count: alpha * count)
