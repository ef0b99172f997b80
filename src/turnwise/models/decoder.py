"""The generic decoder: embeddings, a stack of attention and feed-forward blocks, a head over the vocabulary.

Shapes in names: B sequences, T new tokens, L tokens attended to, C hidden size, H heads, K key/value heads, G = H / K,
D head size, V vocabulary.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.models.decoder_config import DecoderConfig, RopeConfig

FIRST_POSITIONS = 32_768  # in a table of rotations; it grows when a longer context is used


class KeyValueCache(Protocol):
    """Where attention keeps the keys and values of earlier tokens."""

    def update(self, layer: int, keys_BKTD: Tensor, values_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store what is new and return all keys and values to attend to, `(B, K, L, D)` each."""


class Rope(nn.Module):
    """Rotary positions: each pair of dimensions of queries and keys is turned by an angle proportional to position."""

    cos_PD: Tensor
    sin_PD: Tensor

    def __init__(self, config: RopeConfig, head_dim: int, length: int) -> None:
        super().__init__()
        self._config, self._head_dim, self._length = config, head_dim, length
        cos_PD, sin_PD = rope_tables(config, head_dim, min(length, FIRST_POSITIONS))
        self.register_buffer("cos_PD", cos_PD, persistent=False)
        self.register_buffer("sin_PD", sin_PD, persistent=False)

    def forward(self, positions_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines for these positions, `(B, 1, T, D)`."""
        if len(self.cos_PD) < self._length and len(self.cos_PD) <= (last := int(positions_BT.max())):
            device, length = self.cos_PD.device, min(self._length, 2 * last)  # doubled, so that growing is rare
            self.cos_PD, self.sin_PD = (table.to(device) for table in rope_tables(self._config, self._head_dim, length))
        return self.cos_PD[positions_BT].unsqueeze(1).to(dtype), self.sin_PD[positions_BT].unsqueeze(1).to(dtype)


def rope_tables(config: RopeConfig, head_dim: int, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the first positions, `(P, D)` each.

    On the processor also while a model is laid out on the meta device: the tables are computed, not loaded.
    """
    with torch.inference_mode(False):  # they may be made while generating and used while training
        positions_P = torch.arange(length, dtype=torch.float32, device="cpu")
        angles_PD = torch.outer(positions_P, _frequencies(config, head_dim)).repeat(1, 2)
        return angles_PD.cos(), angles_PD.sin()


def _frequencies(config: RopeConfig, head_dim: int) -> Tensor:
    plain = config.theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim)
    if config.kind == "default":
        return plain
    if config.kind == "linear":
        return plain / config.factor
    # llama3: wavelengths beyond original / low are stretched by the factor, those below original / high are kept.
    turns = config.original_length * plain / (2 * math.pi)
    ramp = (turns - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor)
    ramp = ramp.clamp(0, 1)
    return plain * ramp + plain / config.factor * (1 - ramp)


def rotate(x_BHTD: Tensor, cos_sin: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the first half of the dimensions against the second (the layout of published checkpoints)."""
    cos, sin = cos_sin
    first, second = x_BHTD.chunk(2, dim=-1)
    return x_BHTD * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    """Grouped-query attention (Ainslie et al. 2023); queries, keys and values come from one fused projection."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.rotated = config.positions == "rope" and layer not in config.no_rope_layers
        self.window = config.layer_windows[layer]
        width = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.hidden_size, width, bias=config.qkv_bias)
        self.out = nn.Linear(config.num_heads * config.head_dim, config.hidden_size, bias=config.out_bias)
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            self.query_norm = nn.RMSNorm(config.head_dim, config.norm_eps)
            self.key_norm = nn.RMSNorm(config.head_dim, config.norm_eps)

    def forward(
        self,
        x_BTC: Tensor,
        cos_sin: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Tensor:
        """Mix each position with what the mask lets it see; without a mask, with all that came before it."""
        B, T, _ = x_BTC.shape
        H, K, D = self.heads, self.kv_heads, self.head_dim
        qkv_BSTD = self.qkv(x_BTC).view(B, T, H + 2 * K, D).transpose(1, 2)
        qk_BSTD, v_BKTD = qkv_BSTD.split((H + K, K), dim=1)
        if self.qk_norm:
            q_BHTD, k_BKTD = qk_BSTD.split((H, K), dim=1)
            qk_BSTD = torch.cat((self.query_norm(q_BHTD), self.key_norm(k_BKTD)), dim=1)
        if self.rotated:  # queries and keys in one go: small operations cost the same for one as for both
            assert cos_sin is not None
            qk_BSTD = rotate(qk_BSTD, cos_sin)
        q_BHTD, k_BKTD = qk_BSTD.split((H, K), dim=1)
        if cache is not None:
            k_BKTD, v_BKTD = cache.update(self.layer, k_BKTD, v_BKTD)
            if self.window is not None and mask is None and T == 1:
                k_BKTD, v_BKTD = k_BKTD[:, :, -self.window :], v_BKTD[:, :, -self.window :]
        mixed_BHTD = attend(q_BHTD, k_BKTD, v_BKTD, mask)
        out_BTC: Tensor = self.out(mixed_BHTD.transpose(1, 2).reshape(B, T, H * D))
        return out_BTC


def attend(q_BHTD: Tensor, k_BKLD: Tensor, v_BKLD: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention with H / K query heads to each key/value head.

    `mask` is boolean, True where a query may look, and broadcasts to `(B, 1, T, L)`; None means causal.
    """
    B, H, T, D = q_BHTD.shape
    K = k_BKLD.shape[1]
    if T == 1 and K != H:
        # One query per head: let the G heads of a group be G queries to the same keys, so nothing is copied.
        grouped_BKGD = q_BHTD.view(B, K, H // K, D)
        return F.scaled_dot_product_attention(grouped_BKGD, k_BKLD, v_BKLD, attn_mask=mask).view(B, H, 1, D)
    if K != H:
        k_BKLD, v_BKLD = (x.repeat_interleave(H // K, dim=1) for x in (k_BKLD, v_BKLD))
    causal = mask is None and T > 1
    assert not causal or k_BKLD.shape[2] == T, "several new tokens after cached ones need a mask"
    return F.scaled_dot_product_attention(q_BHTD, k_BKLD, v_BKLD, attn_mask=mask, is_causal=causal)


class FeedForward(nn.Module):
    """The per-position network, gated (SwiGLU, Shazeer 2020) or plain; gate and up projections are fused."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gated = config.gated_mlp
        width = config.intermediate_size * (2 if config.gated_mlp else 1)
        self.up = nn.Linear(config.hidden_size, width, bias=config.mlp_bias)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.activation = nn.SiLU() if config.activation == "silu" else nn.GELU(approximate="tanh")

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Widen, bend, narrow."""
        wide = self.up(x_BTC)
        if self.gated:
            gate, up = wide.chunk(2, dim=-1)
            wide = self.activation(gate) * up
        else:
            wide = self.activation(wide)
        out_BTC: Tensor = self.down(wide)
        return out_BTC


def _norm(config: DecoderConfig) -> nn.Module:
    kind = nn.RMSNorm if config.norm == "rms" else nn.LayerNorm
    return kind(config.hidden_size, config.norm_eps)


def _embedding(rows: int, size: int) -> nn.Embedding:
    """Uninitialised: drawing random numbers on the meta device, as loading would, imports torch's compiler."""
    return nn.Embedding(rows, size, _weight=torch.empty(rows, size))


class Block(nn.Module):
    """Attention and feed-forward, each on a normalised copy and added back (pre-norm)."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = Attention(config, layer)
        self.mlp_norm = _norm(config)
        self.mlp = FeedForward(config)

    def forward(
        self,
        x_BTC: Tensor,
        cos_sin: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Tensor:
        """One layer."""
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), cos_sin, mask, cache)
        out_BTC: Tensor = x_BTC + self.mlp(self.mlp_norm(x_BTC))
        return out_BTC


class Decoder(nn.Module):
    """A decoder-only language model.

    Tied embeddings share one matrix between input and head, so `head` is None then.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = _embedding(config.vocab_size, config.hidden_size)
        learned = config.positions == "learned"
        self.position = _embedding(config.context_length, config.hidden_size) if learned else None
        self.rope = None if learned else Rope(config.rope, config.head_dim, config.context_length)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = _norm(config)
        self.head: nn.Module | None = None
        if not config.tied:
            self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(
        self,
        ids_BT: Tensor,
        *,
        positions_BT: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Hidden states `(B, T, C)` after the last norm; `logits` turns them into scores.

        Args:
            ids_BT: token ids.
            positions_BT: place of each id in its sequence; counted from 0 when left out.
            mask: True where a query may look, broadcastable to `(B, 1, T, L)`. None is causal; with cached tokens it
                is for a single new one that sees them all.
            cache: keys and values of earlier tokens.
        """
        if positions_BT is None:
            positions_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
        x_BTC = self.embed(ids_BT)
        if self.position is not None:
            x_BTC = x_BTC + self.position(positions_BT)
        cos_sin = self.rope(positions_BT, x_BTC.dtype) if self.rope is not None else None
        windowed = self._windowed_mask(mask, positions_BT, cache is not None)
        for layer, window in zip(self.layers, self.config.layer_windows, strict=True):
            x_BTC = layer(x_BTC, cos_sin, mask if window is None else windowed, cache)
        out_BTC: Tensor = self.norm(x_BTC)
        return out_BTC

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary, `(..., V)`, of hidden states `(..., C)`."""
        if self.head is None:
            return F.linear(hidden, self.embed.weight)
        scores: Tensor = self.head(hidden)
        return scores

    def _windowed_mask(self, mask: Tensor | None, positions_BT: Tensor, cached: bool) -> Tensor | None:
        """`mask` narrowed to the sliding window; as it is where no layer has one or all fits inside it."""
        window = self.config.sliding_window
        if window is None or not self.config.windowed_layers:
            return mask
        T = positions_BT.shape[1]
        if mask is None:
            if window >= T:  # a single new token lets attention leave out what is too far back
                return None
            mask = torch.ones(T, T, dtype=torch.bool, device=positions_BT.device).tril()
        L = mask.shape[-1]
        if window >= L:
            return mask
        # Packed rows restart positions with every dialogue; within one, distances by index and by position agree.
        queries_BT = positions_BT if cached else torch.arange(T, device=mask.device).expand_as(positions_BT)
        near = torch.arange(L, device=mask.device) > queries_BT.unsqueeze(-1) - window
        return mask & near.unsqueeze(1)


def init_weights(model: Decoder, generator: torch.Generator) -> None:
    """Normal initialisation; projections back into the residual stream are scaled by 1/√(2 layers) (GPT-2)."""
    std = model.config.initializer_range
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            with torch.no_grad():
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
        scale = std / math.sqrt(2 * model.config.num_layers) if residual else std
        nn.init.normal_(parameter, 0.0, scale, generator=generator)
