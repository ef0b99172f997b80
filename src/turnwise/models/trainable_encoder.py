"""The encoder of `encoder.py` as a torch module, for training.

All tokens of a batch form one row: only attention, which depends on sequence boundaries, sees padding.

Shapes: N tokens of all sequences, M of a group, B sequences of a group, T tokens of the longest, X values per token,
C hidden size, H heads, D head size.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.models.dropout import Dropout, dropout
from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_weights import EncoderWeights, weight_shapes
from turnwise.models.padded_layout import PaddedLayout

MAX_PADDING = 1.25  # padded pairs of positions per pair of tokens in a group of sequences
NUM_FREE_PAIRS = 2048  # of padding, which take less time than one more group


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
        self.dropout = Dropout(dropout)
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
        x_NC: Tensor = self.embed(ids_N[groups.order_N]) + self.position(groups.positions_N)
        x_NC = self.dropout(self.embed_norm(x_NC))
        for layer in self.layers:
            x_NC = layer(x_NC, groups)
        return x_NC.index_select(0, groups.order_N.argsort())


class AttentionGroups:
    """The sequences of a batch in groups of similar length, each with a padded layout of its own.

    One layout for all would pad hundreds of short sequences to the length of one long one.

    Attributes:
        order_N: the tokens of the batch, group by group.
        positions_N: position of each token of `order_N` in its sequence.
        sizes: number of tokens of each group.
        layouts: the layout of each group.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        groups = list(_similar_lengths(lengths))
        tokens = torch.split(torch.arange(sum(lengths)), list(lengths))
        self.order_N = torch.cat([tokens[number] for group in groups for number in group]).to(device)
        self.layouts = [PaddedLayout([lengths[number] for number in group], device) for group in groups]
        self.positions_N = torch.cat([layout.positions_N for layout in self.layouts])
        self.sizes = [len(layout.positions_N) for layout in self.layouts]


def _similar_lengths(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Split sequences into groups, the longest first, in which little of the attention matrices is padding."""
    group: list[int] = []
    num_pairs = 0
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        pairs = num_pairs + lengths[number] ** 2
        if group and (len(group) + 1) * lengths[group[0]] ** 2 > MAX_PADDING * pairs + NUM_FREE_PAIRS:
            yield group
            group, pairs = [], lengths[number] ** 2
        group.append(number)
        num_pairs = pairs
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
        self.dropout = Dropout(dropout)
        self.gelu = nn.GELU(approximate="none" if config.activation == "gelu" else "tanh")

    def forward(self, x_NC: Tensor, groups: AttentionGroups) -> Tensor:
        """Output of the layer, `(N, C)`."""
        attended_NC = self.dropout(self.out(self._attention(x_NC, groups)))
        x_NC = self.attention_norm(x_NC + attended_NC)
        mlp_NC = self.dropout(self.down(self.gelu(self.up(x_NC))))
        out_NC: Tensor = self.mlp_norm(x_NC + mlp_NC)
        return out_NC

    def _attention(self, x_NC: Tensor, groups: AttentionGroups) -> Tensor:
        outputs = []
        for qkv_MX, layout in zip(torch.split(self.qkv(x_NC), groups.sizes), groups.layouts, strict=True):
            qkv_BTX = layout.pad(qkv_MX)
            B, T, _ = qkv_BTX.shape
            q_BHTD, k_BHTD, v_BHTD = qkv_BTX.view(B, T, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
            mask_B11T = layout.mask_BT[:, None, None] if layout.has_padding else None
            if self.training and self.attention_dropout and x_NC.device.type == "cpu":
                out_BHTD = attention_with_dropout(q_BHTD, k_BHTD, v_BHTD, mask_B11T, self.attention_dropout)
            else:
                out_BHTD = F.scaled_dot_product_attention(
                    q_BHTD, k_BHTD, v_BHTD, mask_B11T, self.attention_dropout if self.training else 0.0
                )
            outputs.append(layout.unpad(out_BHTD.transpose(1, 2).reshape(B, T, -1)))
        return torch.cat(outputs)


def attention_with_dropout(
    q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, mask_B11T: Tensor | None, probability: float
) -> Tensor:
    """Scaled dot-product attention in float32, with dropout of the attention weights.

    With dropout, torch computes attention on a CPU as here, but with its slow random numbers.
    """
    with torch.autocast(q_BHTD.device.type, enabled=False):
        scores_BHTT = (q_BHTD.float() * q_BHTD.shape[-1] ** -0.5) @ k_BHTD.float().transpose(-1, -2)
        if mask_B11T is not None:
            scores_BHTT = scores_BHTT.masked_fill(~mask_B11T, -torch.inf)
        weights_BHTT = dropout(scores_BHTT.softmax(dim=-1), probability)
        return (weights_BHTT @ v_BHTD.float()).to(v_BHTD.dtype)
