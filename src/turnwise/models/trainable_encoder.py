"""The encoder of `encoder.py` as a torch module, for training.

All tokens of a batch form one row: only attention, which depends on sequence boundaries, sees padding.

Shapes: N tokens of all sequences, B sequences, T tokens of the longest, X values per token, C hidden size, H heads, D
head size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_weights import EncoderWeights, weight_shapes


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
        layout = PaddedLayout(lengths, ids_N.device)
        x_NC: Tensor = self.embed(ids_N) + self.position(layout.positions_N)
        x_NC = self.dropout(self.embed_norm(x_NC))
        for layer in self.layers:
            x_NC = layer(x_NC, layout)
        return x_NC


class PaddedLayout:
    """Where the tokens of a batch are in a padded batch.

    Attributes:
        positions_N: position of each token in its sequence.
        mask_B11T: True for tokens, False for padding.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self._shape = len(lengths), max(lengths)
        lengths_B = torch.tensor(lengths, device=device)
        positions_T = torch.arange(max(lengths), device=device)
        mask_BT = positions_T < lengths_B[:, None]
        self._indices_N = mask_BT.flatten().nonzero()[:, 0]  # of the tokens in the flattened padded batch
        self.positions_N = self._indices_N % max(lengths)
        self.mask_B11T = mask_BT[:, None, None]

    def pad(self, x_NX: Tensor) -> Tensor:
        """Values of tokens, `(N, X)`, as a padded batch, `(B, T, X)`."""
        B, T = self._shape
        padded = x_NX.new_zeros(B * T, x_NX.shape[1])
        return padded.index_copy(0, self._indices_N, x_NX).view(B, T, -1)

    def unpad(self, x_BTX: Tensor) -> Tensor:
        """The inverse of `pad`."""
        return x_BTX.flatten(0, 1)[self._indices_N]


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

    def forward(self, x_NC: Tensor, layout: PaddedLayout) -> Tensor:
        """Output of the layer, `(N, C)`."""
        attended_NC = self.dropout(self.out(self._attention(x_NC, layout)))
        x_NC = self.attention_norm(x_NC + attended_NC)
        mlp_NC = self.dropout(self.down(self.gelu(self.up(x_NC))))
        out_NC: Tensor = self.mlp_norm(x_NC + mlp_NC)
        return out_NC

    def _attention(self, x_NC: Tensor, layout: PaddedLayout) -> Tensor:
        qkv_BTX = layout.pad(self.qkv(x_NC))
        B, T, _ = qkv_BTX.shape
        q_BHTD, k_BHTD, v_BHTD = qkv_BTX.view(B, T, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        dropout = self.attention_dropout if self.training else 0.0
        out_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, attn_mask=layout.mask_B11T, dropout_p=dropout)
        return layout.unpad(out_BHTD.transpose(1, 2).reshape(B, T, -1))
