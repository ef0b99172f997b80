"""Noise on embeddings while training (Jain et al. 2023, NEFTune): answers get less close to the letter of the data."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from turnwise.models.language_model import LanguageModel
from turnwise.training.examples.batches import Batch


@contextmanager
def neftune_noise(model: LanguageModel, batch: Batch, alpha: float | None) -> Iterator[None]:
    """Within the block embeddings get uniform noise of ±α / √(L C), L being the length of the token's own sequence.

    Shapes: B rows, T tokens, C hidden size.
    """
    if not alpha:
        yield
        return
    segment_ids_BT = batch.segment_ids_BT.long()
    sizes = torch.bincount(segment_ids_BT.flatten()).clamp(min=1)
    lengths_BT = sizes[segment_ids_BT]

    def add(_module: nn.Module, _inputs: object, out_BTC: Tensor) -> Tensor:
        if out_BTC.shape[:2] == lengths_BT.shape:
            lengths = lengths_BT
        else:  # what an encoder reads
            lengths = torch.full(out_BTC.shape[:2], out_BTC.shape[1], device=out_BTC.device)
        scale_BT1 = (alpha / math.sqrt(out_BTC.shape[2])) * lengths.unsqueeze(-1).rsqrt()
        return out_BTC + (2 * torch.rand_like(out_BTC) - 1) * scale_BT1.to(out_BTC.dtype)

    weight = model.embedding.weight  # an encoder and a decoder may each have a module of the same weights
    found: list[nn.Module] = [
        part for part in model.module.modules() if isinstance(part, nn.Embedding) and part.weight is weight
    ]
    hooks = [part.register_forward_hook(add) for part in found or [model.embedding]]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
