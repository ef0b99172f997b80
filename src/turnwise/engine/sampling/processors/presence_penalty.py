"""Presence penalty (OpenAI API): zᵢ − α for every token i that occurs in the output."""

from turnwise.core.inference import GenerationRequest
from turnwise.engine.sampling.count_penalty import CountPenalty

ORDER = 30


def start(request: GenerationRequest) -> CountPenalty | None:
    """None if the penalty is 0."""
    alpha = request.params.presence_penalty
    return None if alpha == 0 else CountPenalty(lambda _: alpha)
