"""Presence penalty: zᵢ − α for every token i that the answer holds already (the published formula)."""

from turnwise.core.ports import GenerationRequest
from turnwise.engine.sampling.count_penalty import CountPenalty

ORDER = 30


def start(request: GenerationRequest) -> CountPenalty | None:
    """None at 0."""
    alpha = request.params.presence_penalty
    return None if alpha == 0 else CountPenalty(lambda _: alpha)
