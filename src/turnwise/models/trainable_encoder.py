"""The encoder of `encoder.py` as a torch module, for training.

All tokens of a batch form one row: only attention, which depends on sequence boundaries, sees padding.

Shapes: N tokens of all sequences, M of a group, B sequences, T tokens of the longest, X values per token, C hidden
size, H heads, D head size.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_weights import EncoderWeights, weight_shapes
from turnwise.models.padded_layout import PaddedLayout

MAX_PADDING = 2  # padded positions per token in a group of sequences


class TrainableEncoder(nn.Module):
    """Computes the hidden states of several sequences.

    Parameters have the names of `weight_shapes`.

    Args:
        config: sizes and switches.
        dropout: probability of dropping a hidden value or an attention weight in training.
    """

    def __init__(self, config: EncoderConfig, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        C = config.hidden_size
        self.embed = nn.Embedding(config.vocab_size, C)
        self.position = nn.Embedding(config.num_positions, C)
        self.embed_norm = nn.LayerNorm(C, config.norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(EncoderLayer(config, dropout) for _ in range(config.num_layers))

    @classmethod
    def from_weights(cls, weights: EncoderWeights, dropout: float = 0.1) -> "TrainableEncoder":
        """The encoder with given weights, in float32."""
        module = cls(weights.config, dropout)
        module.load_state_dict({name: weights.tensor(name).float() for name in weight_shapes(weights.config)})
        return module

    def forward(self, ids_N: Tensor, lengths: Sequence[int]) -> Tensor:
        """Last hidden states `(N, C)`.

        Args:
            ids_N: token ids of all sequences, one sequence after the other.
            lengths: number of tokens of each sequence, at least 1 and at most `config.num_positions`.
        """
        groups = AttentionGroups(lengths, ids_N.device)
        x_NC: Tensor = self.embed(ids_N) + self.position(groups.positions_N)
        x_NC = self.dropout(self.embed_norm(x_NC))
        for layer in self.layers:
            x_NC = layer(x_NC, groups)
        return x_NC


class AttentionGroups:
    """The sequences of a batch in groups of similar length, each with a padded layout of its own.

    One layout for all would pad hundreds of short sequences to the length of one long one.

    Attributes:
        positions_N: position of each token in its sequence.
        groups: the indices of a group's tokens in the batch, and their layout.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        starts = [0, *accumulate(lengths)]
        self.positions_N = torch.cat([torch.arange(length) for length in lengths]).to(device)
        self.groups: list[tuple[Tensor, PaddedLayout]] = []
        for group in _similar_lengths(lengths):
            indices_M = torch.cat([torch.arange(starts[number], starts[number + 1]) for number in group])
            self.groups.append((indices_M.to(device), PaddedLayout([lengths[number] for number in group], device)))


def _similar_lengths(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Split sequences into groups, the longest first, in which at most half of the padded positions are padding."""
    group: list[int] = []
    num_tokens = 0
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if group and (len(group) + 1) * lengths[group[0]] > MAX_PADDING * (num_tokens + lengths[number]):
            yield group
            group, num_tokens = [], 0
        group.append(number)
        num_tokens += lengths[number]
    yield group


class EncoderLayer(nn.Module):
    """Self-attention and MLP, each with a residual connection and a norm after it (post-norm)."""

    def __init__(self, config: EncoderConfig, dropout: float) -> None:
        super().__init__()
        C, self.num_heads, self.attention_dropout = config.hidden_size, config.num_heads, dropout
        self.qkv = nn.Linear(C, 3 * C)
        self.out = nn.Linear(C, C)
        self.attention_norm = nn.LayerNorm(C, config.norm_eps)
        self.up = nn.Linear(C, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, C)
        self.mlp_norm = nn.LayerNorm(C, config.norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.gelu = nn.GELU(approximate="none" if config.activation == "gelu" else "tanh")

    def forward(self, x_NC: Tensor, groups: AttentionGroups) -> Tensor:
        """Output of the layer, `(N, C)`."""
        attended_NC = self.dropout(self.out(self._attention(x_NC, groups)))
        x_NC = self.attention_norm(x_NC + attended_NC)
        mlp_NC = self.dropout(self.down(self.gelu(self.up(x_NC))))
        out_NC: Tensor = self.mlp_norm(x_NC + mlp_NC)
        return out_NC

    def _attention(self, x_NC: Tensor, groups: AttentionGroups) -> Tensor:
        qkv_NX = self.qkv(x_NC)
        out_NC = torch.empty_like(qkv_NX[:, : x_NC.shape[1]])
        for indices_M, layout in groups.groups:
            qkv_BTX = layout.pad(qkv_NX[indices_M])
            B, T, _ = qkv_BTX.shape
            q_BHTD, k_BHTD, v_BHTD = qkv_BTX.view(B, T, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
            dropout = self.attention_dropout if self.training else 0.0
            mask_B11T = layout.mask_BT[:, None, None]
            out_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, attn_mask=mask_B11T, dropout_p=dropout)
            out_NC = out_NC.index_copy(0, indices_M, layout.unpad(out_BHTD.transpose(1, 2).reshape(B, T, -1)))
        return out_NC
