"""The generic decoder: token embedding, transformer blocks, final norm and LM head.

Shapes: B sequences, T new tokens, L tokens attended to, C hidden size, F intermediate size, H heads, K key/value heads,
G = H / K, S = H + 2 K, D head size, V vocabulary.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.packed_segments import PackedRows, attend_within_segments
from turnwise.models.rope import RotaryEmbedding, apply_rope


class KeyValueCache(Protocol):
    """Keys and values of earlier tokens."""

    def update(self, layer: int, keys_BKTD: Tensor, values_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Add new keys and values; returns all that are attended to, `(B, K, L, D)` each."""


class Attention(nn.Module):
    """Grouped-query attention (Ainslie et al. 2023) with one fused projection for queries, keys and values."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.uses_rope = config.positions == "rope" and layer not in config.no_rope_layers
        self.window = config.layer_windows[layer]
        qkv_size = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.hidden_size, qkv_size, bias=config.qkv_bias)
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
        segments: PackedRows | None = None,
    ) -> Tensor:
        """Attention output `(B, T, C)`. Arguments as for `Decoder.forward`; `cos_sin` come from `RotaryEmbedding`."""
        B, T, _ = x_BTC.shape
        q_BHTD, k_BKTD, v_BKTD = self.project(x_BTC, cos_sin)
        if cache is not None:
            k_BKTD, v_BKTD = cache.update(self.layer, k_BKTD, v_BKTD)
            if self.window is not None and mask is None and T == 1:  # slicing replaces the window's mask
                k_BKTD, v_BKTD = k_BKTD[:, :, -self.window :], v_BKTD[:, :, -self.window :]
        attended_BHTD = attend(q_BHTD, k_BKTD, v_BKTD, mask, segments)
        out_BTC: Tensor = self.out(attended_BHTD.transpose(1, 2).reshape(B, T, self.num_heads * self.head_dim))
        return out_BTC

    def project(self, x_BTC: Tensor, cos_sin: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries `(B, H, T, D)`, keys and values `(B, K, T, D)`, after norms and position embeddings."""
        B, T, _ = x_BTC.shape
        H, K, D = self.num_heads, self.num_kv_heads, self.head_dim
        qkv_BSTD = self.qkv(x_BTC).view(B, T, H + 2 * K, D).transpose(1, 2)
        qk_BSTD, v_BKTD = qkv_BSTD.split((H + K, K), dim=1)
        if self.qk_norm:
            q_BHTD, k_BKTD = qk_BSTD.split((H, K), dim=1)
            qk_BSTD = torch.cat((self.query_norm(q_BHTD), self.key_norm(k_BKTD)), dim=1)
        if self.uses_rope:  # queries and keys together: small operations cost the same for both as for one
            assert cos_sin is not None, "a decoder with rotary positions has their tables"
            qk_BSTD = apply_rope(qk_BSTD, cos_sin)
        q_BHTD, k_BKTD = qk_BSTD.split((H, K), dim=1)
        return q_BHTD, k_BKTD, v_BKTD


def attend(
    q_BHTD: Tensor,
    k_BKLD: Tensor,
    v_BKLD: Tensor,
    mask: Tensor | None,
    segments: PackedRows | None = None,
) -> Tensor:
    """Scaled dot-product attention with H / K query heads per key/value head.

    `mask` is True where a query attends to a key and broadcasts to `(B, 1, T, L)`; None is causal. With
    `segments`, attention is causal within each segment of a row.
    """
    B, H, T, D = q_BHTD.shape
    K = k_BKLD.shape[1]
    if T == 1 and K != H:
        # One query per head: the G heads of a group become G queries of one head, so keys and values are not copied.
        grouped_BKGD = q_BHTD.view(B, K, H // K, D)
        return F.scaled_dot_product_attention(grouped_BKGD, k_BKLD, v_BKLD, attn_mask=mask).view(B, H, 1, D)
    if K != H:
        k_BKLD, v_BKLD = (x.repeat_interleave(H // K, dim=1) for x in (k_BKLD, v_BKLD))
    if segments is not None:
        return attend_within_segments(q_BHTD, k_BKLD, v_BKLD, segments)
    is_causal = mask is None and T > 1
    assert not is_causal or k_BKLD.shape[2] == T, "several new tokens after cached ones need a mask"
    return F.scaled_dot_product_attention(q_BHTD, k_BKLD, v_BKLD, attn_mask=mask, is_causal=is_causal)


class FeedForward(nn.Module):
    """The MLP, gated (SwiGLU, Shazeer 2020) or not; gate and up projections are fused in `up`."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.is_gated = config.gated_mlp
        up_size = config.intermediate_size * (2 if config.gated_mlp else 1)
        self.up = nn.Linear(config.hidden_size, up_size, bias=config.mlp_bias)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.activation = nn.SiLU() if config.activation == "silu" else nn.GELU(approximate="tanh")

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Up-projection, activation, down-projection."""
        up = self.up(x_BTC)
        if self.is_gated:
            gate_BTF, up_BTF = up.chunk(2, dim=-1)
            activated_BTF = self.activation(gate_BTF) * up_BTF
        else:
            activated_BTF = self.activation(up)
        out_BTC: Tensor = self.down(activated_BTF)
        return out_BTC


def _norm(config: DecoderConfig) -> nn.Module:
    norm_class = nn.RMSNorm if config.norm == "rms" else nn.LayerNorm
    return norm_class(config.hidden_size, config.norm_eps)


def _embedding(rows: int, size: int) -> nn.Embedding:
    """An uninitialised embedding: random numbers on the meta device, which loading uses, import torch's compiler."""
    return nn.Embedding(rows, size, _weight=torch.empty(rows, size))


class Block(nn.Module):
    """A pre-norm transformer block: attention and MLP, each with a residual connection."""

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
        segments: PackedRows | None = None,
    ) -> Tensor:
        """Output of the block, `(B, T, C)`."""
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), cos_sin, mask, cache, segments)
        out_BTC: Tensor = x_BTC + self.mlp(self.mlp_norm(x_BTC))
        return out_BTC


class Decoder(nn.Module):
    """A decoder-only language model.

    With tied embeddings `head` is None, and the token embedding computes the logits.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = _embedding(config.vocab_size, config.hidden_size)
        is_learned = config.positions == "learned"
        self.position = _embedding(config.context_length, config.hidden_size) if is_learned else None
        self.rope = None if is_learned else RotaryEmbedding(config.rope, config.head_dim, config.context_length)
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
        segments: PackedRows | None = None,
    ) -> Tensor:
        """Hidden states `(B, T, C)` after the final norm; `logits` turns them into logits.

        Args:
            ids_BT: token ids.
            positions_BT: position of each token in its sequence. Default: counted from 0.
            mask: True where a token attends to another; broadcasts to `(B, 1, T, L)`. Default: causal. With cached
                tokens the default requires T = 1, and the new token attends to all of them.
            cache: keys and values of earlier tokens; new ones are added.
            segments: the sequences of each row; attention is causal within each. In place of `mask` and `cache`, and
                only if no sequence is longer than the sliding window.
        """
        if positions_BT is None:
            positions_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
        x_BTC, cos_sin = self.embed_tokens(ids_BT, positions_BT)
        assert segments is None or (mask is None and cache is None), "segments are in place of a mask and a cache"
        windowed_mask = None
        if segments is None:
            windowed_mask = self.windowed_mask(mask, positions_BT, is_cached=cache is not None)
        for layer, window in zip(self.layers, self.config.layer_windows, strict=True):
            x_BTC = layer(x_BTC, cos_sin, mask if window is None else windowed_mask, cache, segments)
        out_BTC: Tensor = self.norm(x_BTC)
        return out_BTC

    def embed_tokens(self, ids_BT: Tensor, positions_BT: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Input `(B, T, C)` of the first block, and the tables of rotary positions if the decoder has them."""
        x_BTC = self.embed(ids_BT)
        if self.position is not None:
            x_BTC = x_BTC + self.position(positions_BT)
        return x_BTC, self.rope(positions_BT, x_BTC.dtype) if self.rope is not None else None

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits `(..., V)` from hidden states `(..., C)`."""
        if self.head is None:
            return F.linear(hidden, self.embed.weight)
        logits: Tensor = self.head(hidden)
        return logits

    def windowed_mask(self, mask: Tensor | None, positions_BT: Tensor, *, is_cached: bool) -> Tensor | None:
        """`mask` restricted to the sliding window; unchanged if no layer has a window or all tokens are within it."""
        window = self.config.sliding_window
        if window is None or not self.config.windowed_layers:
            return mask
        T = positions_BT.shape[1]
        if mask is None:
            if window >= T:  # includes T = 1 with cached tokens: `Attention` slices the keys instead
                return None
            mask = torch.ones(T, T, dtype=torch.bool, device=positions_BT.device).tril()
        L = mask.shape[-1]
        if window >= L:
            return mask
        # Without a cache, keys are addressed by index in the row. In packed rows positions restart with every sequence,
        # but within one sequence distances by index and by position are the same.
        queries_BT = positions_BT if is_cached else torch.arange(T, device=mask.device).expand_as(positions_BT)
        is_within_window = torch.arange(L, device=mask.device) > queries_BT.unsqueeze(-1) - window
        return mask & is_within_window.unsqueeze(1)


def init_weights(model: Decoder, generator: torch.Generator) -> None:
    """Normal initialisation; projections into the residual stream are scaled by 1/√(2 · layers) (GPT-2)."""
    std = model.config.initializer_range
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            with torch.no_grad():
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        is_residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
        parameter_std = std / math.sqrt(2 * model.config.num_layers) if is_residual else std
        nn.init.normal_(parameter, 0.0, parameter_std, generator=generator)
