"""Frequency penalty: zᵢ − cᵢ · α, where cᵢ is how often the answer holds token i already (the published formula)."""

from turnwise.core.ports import GenerationRequest
from turnwise.engine.sampling.count_penalty import CountPenalty

ORDER = 20


def start(request: GenerationRequest) -> CountPenalty | None:
    """None at 0."""
    alpha = request.params.frequency_penalty
    return None if alpha == 0 else CountPenalty(lambda count: alpha * count)
