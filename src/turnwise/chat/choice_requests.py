"""Divides an engine request into one request per choice."""

import hashlib
from dataclasses import replace

from turnwise.core.inference import GenerationRequest


def split_choices(generation_request: GenerationRequest, n: int) -> list[GenerationRequest]:
    """Engine requests for `n` choices: one for a beam search, which returns all of them, else one per choice."""
    if generation_request.params.num_beams > 1:
        return [generation_request]
    return [_with_choice_seed(generation_request, index) for index in range(n)]


def _with_choice_seed(generation_request: GenerationRequest, index: int) -> GenerationRequest:
    """The request with a seed derived from `seed` and the index of the choice. Reproducible."""
    seed = generation_request.params.seed
    if index == 0 or seed is None:
        return generation_request
    choice_seed = int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:7], "big")
    return replace(generation_request, params=replace(generation_request.params, seed=choice_seed))
