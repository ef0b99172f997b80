"""Sequences of different lengths as a padded batch.

Shapes: N tokens of all sequences, B sequences, T tokens of the longest, X values per token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class PaddedLayout:
    """Where the tokens of a batch are in a padded batch.

    Attributes:
        mask_BT: True for tokens, False for padding.
        positions_N: position of each token in its sequence.
        has_padding: False if all sequences have the same length.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.num_sequences, self.longest = len(lengths), max(lengths)
        positions_T = torch.arange(self.longest, device=device)
        self.mask_BT = positions_T < torch.tensor(lengths, device=device)[:, None]
        self.has_padding = min(lengths) < self.longest
        self._indices_N = self.mask_BT.flatten().nonzero()[:, 0]  # of the tokens in the flattened padded batch
        self.positions_N = self._indices_N % self.longest

    def pad(self, x_NX: Tensor) -> Tensor:
        """Values of tokens, `(N, X)`, as a padded batch, `(B, T, X)`."""
        if not self.has_padding:
            return x_NX.reshape(self.num_sequences, self.longest, -1)
        padded = x_NX.new_zeros(self.num_sequences * self.longest, x_NX.shape[1])
        return padded.index_copy(0, self._indices_N, x_NX).view(self.num_sequences, self.longest, -1)

    def unpad(self, x_BTX: Tensor) -> Tensor:
        """The inverse of `pad`."""
        return x_BTX.flatten(0, 1) if not self.has_padding else x_BTX.flatten(0, 1).index_select(0, self._indices_N)
