"""Embeddings of word features, and an LSTM over the words of a sentence.

Shapes: N words of all sentences, M distinct ones, S sentences, T words of the longest, F features of a word, L
characters of a word, X values of a word.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from turnwise.core.word_features import CHARACTERS_FROM, NUM_CHARACTER_IDS, SHAPE_COLUMN, START_COLUMN, WordShape
from turnwise.models.padded_layout import PaddedLayout

CHARACTER_SIZE, CHARACTER_FILTERS, KERNEL_SIZE = 30, 50, 3
SHAPE_SIZE = 10


class WordFeatureEmbedding(nn.Module):
    """Embeds characters, shape and word vector of words (`core/word_features.py`).

    Characters pass a convolution and a maximum over the word (Ma & Hovy 2016). Word vectors are not trained, so that
    words which the training data lack keep their place among those that they have.

    Attributes:
        size: number of values of a word.

    Args:
        num_vectors: number of word vectors, the zero vector included; 0: none.
        vector_size: their length.
    """

    vectors_VD: Tensor

    def __init__(self, num_vectors: int = 0, vector_size: int = 0) -> None:
        super().__init__()
        self.characters = nn.Embedding(NUM_CHARACTER_IDS, CHARACTER_SIZE, padding_idx=0)
        self.convolution = nn.Conv1d(CHARACTER_SIZE, CHARACTER_FILTERS, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        self.shapes = nn.Embedding(max(WordShape) + 1, SHAPE_SIZE)
        self.size = CHARACTER_FILTERS + SHAPE_SIZE + vector_size
        self.register_buffer("vectors_VD", torch.zeros(num_vectors, vector_size))

    def forward(self, features_NF: Tensor) -> Tensor:
        """Values of the words, `(N, X)`. Those of a word that occurs several times are computed once."""
        used_NF = torch.cat([features_NF[:, :START_COLUMN], features_NF[:, CHARACTERS_FROM:]], dim=1)
        features_MF, word_N = torch.unique(used_NF, dim=0, return_inverse=True)
        characters_ML = features_MF[:, START_COLUMN:]
        filtered_MCL = self.convolution(self.characters(characters_ML).transpose(1, 2))
        filtered_MCL = filtered_MCL.masked_fill(characters_ML[:, None] == 0, -torch.inf)
        parts = [filtered_MCL.amax(dim=2), self.shapes(features_MF[:, SHAPE_COLUMN])]
        if len(self.vectors_VD):
            parts.append(self.vectors_VD[features_MF[:, 0]])
        return torch.cat(parts, dim=1).index_select(0, word_N)


class WordLstm(nn.Module):
    """A bidirectional LSTM over the words of every sentence (Huang et al. 2015).

    Attributes:
        size: number of values of a word in the output.

    Args:
        input_size: number of values of a word.
        hidden_size: size of the hidden state in each direction.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True, bidirectional=True)
        self.size = 2 * hidden_size

    def forward(self, x_NX: Tensor, lengths: Sequence[int]) -> Tensor:
        """Hidden states of both directions, `(N, X)`.

        Args:
            x_NX: values of the words, one sentence after the other.
            lengths: number of words of each sentence, at least 1.
        """
        layout = PaddedLayout(lengths, x_NX.device)
        if x_NX.is_cuda:
            return self._packed_states(x_NX, lengths, layout)
        # The backward direction reads every sentence from its last word, so that padding is at the end for both
        # directions. torch processes packed sequences word by word on a CPU, and padded ones in one operator.
        lengths_S = torch.tensor(lengths, device=x_NX.device)
        last_N = (lengths_S.cumsum(0) - 1).repeat_interleave(lengths_S)
        reversed_N = last_N - layout.positions_N
        forward_weights, backward_weights = self.lstm.all_weights
        forward_NX = self._padded_states(x_NX, layout, forward_weights)
        backward_NX = self._padded_states(x_NX.index_select(0, reversed_N), layout, backward_weights)
        return torch.cat([forward_NX, backward_NX.index_select(0, reversed_N)], dim=1)

    def _padded_states(self, x_NX: Tensor, layout: PaddedLayout, weights: Sequence[Tensor]) -> Tensor:
        """Hidden states of one direction."""
        x_STX = layout.pad(x_NX)
        state_1SX = x_STX.new_zeros(1, len(x_STX), self.lstm.hidden_size)
        states_STX, _, _ = torch.lstm(
            x_STX, [state_1SX, state_1SX], list(weights),
            has_biases=True, num_layers=1, dropout=0.0, train=self.training, bidirectional=False, batch_first=True,
        )  # fmt: skip
        return layout.unpad(states_STX)

    def _packed_states(self, x_NX: Tensor, lengths: Sequence[int], layout: PaddedLayout) -> Tensor:
        """Hidden states of both directions."""
        packed = nn.utils.rnn.pack_padded_sequence(
            layout.pad(x_NX), torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        states_STX, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return layout.unpad(states_STX)
