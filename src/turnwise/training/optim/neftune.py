"""NEFTune: uniform noise on embeddings during training, a regularizer (Jain et al. 2023)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from turnwise.models.language_model import LanguageModel
from turnwise.training.examples.batches import Batch


@contextmanager
def neftune_noise(model: LanguageModel, batch: Batch, alpha: float | None) -> Iterator[None]:
    """Context manager: add uniform noise of ±α / √(L C) to embeddings, with L the length of the token's segment.

    Args:
        model: model in training.
        batch: batch of the forward pass in the block.
        alpha: noise scale α; None or 0 adds no noise.

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
        else:  # encoder input: one segment per row
            lengths = torch.full(out_BTC.shape[:2], out_BTC.shape[1], device=out_BTC.device)
        scale_BT1 = (alpha / math.sqrt(out_BTC.shape[2])) * lengths.unsqueeze(-1).rsqrt()
        return out_BTC + (2 * torch.rand_like(out_BTC) - 1) * scale_BT1.to(out_BTC.dtype)

    weight = model.embedding.weight  # encoder and decoder may have separate modules that share this weight
    embeddings: list[nn.Module] = [
        child for child in model.module.modules() if isinstance(child, nn.Embedding) and child.weight is weight
    ]
    hooks = [embedding.register_forward_hook(add) for embedding in embeddings or [model.embedding]]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
