"""Attention weights of the last token of a sequence, which the fused kernels of inference do not keep.

Shapes: T tokens, C hidden size, N layers, H heads, K key/value heads, D head size.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from turnwise.core.steps import Steps
from turnwise.core.system_memory import available_memory
from turnwise.models.decoder import Attention, Block, Decoder
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.decoder_weights import DecoderWeights

MAX_KEPT_BYTES = 1 << 30


class BlockWeights(Protocol):
    """The weights of a decoder by parameter name."""

    @property
    def config(self) -> DecoderConfig:
        """The config of the decoder."""

    def tensor(self, name: str) -> Tensor:
        """One tensor in its stored dtype."""


class KeptWeights:
    """Weights that are read once, because dequantizing and merging take longer than computing a short context.

    Weights that have more than `max_bytes` are read again every time (implements `BlockWeights`).
    """

    def __init__(self, weights: DecoderWeights, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._weights, self.config = weights, weights.config
        num_bytes = sum(shape.numel() * weights.stored_dtype(name).itemsize for name, shape in weights.shapes.items())
        self._is_kept = num_bytes <= min(max_bytes, available_memory() // 4)
        self._tensors: dict[str, Tensor] = {}

    def tensor(self, name: str) -> Tensor:
        """One tensor in its stored dtype."""
        if not self._is_kept:
            return self._weights.tensor(name)
        if name not in self._tensors:
            self._tensors[name] = self._weights.tensor(name)
        return self._tensors[name]


def last_token_attention(weights: BlockWeights, ids: Sequence[int]) -> Steps[Tensor]:
    """What the last token attends to: softmax weights `(N, H, T)` of all layers and heads, one layer per step.

    The blocks of the decoder are computed on the CPU in float32, and only one of them is in memory at a time. A decoder
    in memory (`ModuleWeights`) stays unchanged.
    """
    with torch.device("meta"):
        decoder = Decoder(weights.config)
    ids_BT = torch.tensor([ids])
    positions_BT = torch.arange(len(ids))[None]
    with torch.inference_mode():
        for name in ("embed", "position"):
            if (module := getattr(decoder, name)) is not None:
                _load(module, name, weights)
        x_BTC, cos_sin = decoder.embed_tokens(ids_BT, positions_BT)
        decoder.embed.to("meta")
        mask = decoder.windowed_mask(None, positions_BT, is_cached=False)
    rows_HT = []
    for number, window in enumerate(weights.config.layer_windows):
        yield
        block = decoder.layers[number]
        assert isinstance(block, Block)
        with torch.inference_mode():
            _load(block, f"layers.{number}", weights)
            layer_mask = None if window is None else mask
            rows_HT.append(_last_row(block.attention, block.attention_norm(x_BTC), cos_sin, layer_mask))
            if number + 1 < len(decoder.layers):
                x_BTC = block(x_BTC, cos_sin, layer_mask, None)
            block.to("meta")
    return torch.stack(rows_HT)


def _last_row(
    attention: Attention, x_BTC: Tensor, cos_sin: tuple[Tensor, Tensor] | None, mask: Tensor | None
) -> Tensor:
    """Weights `(H, T)` of the last query of the only sequence."""
    q_BHTD, k_BKTD, _ = attention.project(x_BTC, cos_sin)
    k_HTD = k_BKTD[0].repeat_interleave(attention.num_heads // attention.num_kv_heads, dim=0)
    scores_HT = (k_HTD @ q_BHTD[0, :, -1, :, None])[..., 0] * attention.head_dim**-0.5
    if mask is not None:
        scores_HT = scores_HT.masked_fill(~mask[0, 0, -1], float("-inf"))
    weights_HT: Tensor = scores_HT.softmax(dim=-1)
    return weights_HT


def _load(module: nn.Module, prefix: str, weights: BlockWeights) -> None:
    """Replace the parameters of a module on the meta device."""
    tensors = {name: weights.tensor(f"{prefix}.{name}").to("cpu", torch.float32) for name in module.state_dict()}
    module.load_state_dict(tensors, assign=True)
