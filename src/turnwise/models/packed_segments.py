"""Several sequences in one row: which tokens attend to each other.

A segment is a sequence of the row whose tokens attend to each other only. One that begins at a later position than 0
continues a sequence: its tokens also attend to those of the last segment before it that began at 0. So several replies
share the tokens of their prompt, as branches share the root of a tree.

Shapes: B rows, T tokens in a row, D head size, H heads, L tokens attended to.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class PackedSegment(NamedTuple):
    """A segment of a row.

    Attributes:
        length: number of tokens.
        start: position of the first one.
    """

    length: int
    start: int

    @property
    def end(self) -> int:
        """The position after its last token."""
        return self.start + self.length


PackedRows = Sequence[Sequence[PackedSegment]]
"""The segments of each row, whose lengths sum to T."""


def packed_rows(segment_ids_BT: Tensor, positions_BT: Tensor) -> PackedRows:
    """Read the segments of each row; padding counts as one."""
    rows = []
    for ids_T, positions_T in zip(segment_ids_BT, positions_BT, strict=True):
        lengths = torch.unique_consecutive(ids_T, return_counts=True)[1]
        starts = positions_T[lengths.cumsum(0) - lengths]
        rows.append([PackedSegment(*pair) for pair in zip(lengths.tolist(), starts.tolist(), strict=True)])
    return rows


def segment_mask(segment_ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
    """Attention mask `(B, 1, T, T)`: a token attends to its sequence up to itself."""
    begins_BT = segment_ids_BT * (positions_BT == 0)
    root_ids_BT = begins_BT.cummax(dim=1).values  # ids increase along a row; padding has no id
    root_ids_BT = root_ids_BT.where(segment_ids_BT > 0, 0)
    keys_B1T = segment_ids_BT.unsqueeze(1)
    is_attended_BTT = (segment_ids_BT.unsqueeze(2) == keys_B1T) | (root_ids_BT.unsqueeze(2) == keys_B1T)
    return is_attended_BTT.tril().unsqueeze(1)


def attend_within_segments(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, rows: PackedRows) -> Tensor:
    """Causal attention of one segment at a time: a mask over the whole row would cost the products that it discards."""
    rows_HTD = []
    for q_HTD, k_HTD, v_HTD, segments in zip(q_BHTD, k_BHTD, v_BHTD, rows, strict=True):
        # `split`, whose gradient is one concatenation; a slice's gradient is a tensor as large as the row.
        lengths = [segment.length for segment in segments]
        parts = zip(*(x_HTD[None].split(lengths, dim=2) for x_HTD in (q_HTD, k_HTD, v_HTD)), strict=True)
        attended = []
        for (q_1HTD, k_1HLD, v_1HLD), segment in zip(parts, segments, strict=True):
            if segment.start == 0:
                root = k_1HLD, v_1HLD
                attended.append(F.scaled_dot_product_attention(q_1HTD, k_1HLD, v_1HLD, is_causal=True))
            else:
                k_1HLD, v_1HLD = (torch.cat(pair, dim=2) for pair in zip(root, (k_1HLD, v_1HLD), strict=True))
                mask_TL = torch.ones(segment.length, segment.end, dtype=torch.bool).tril(segment.start)
                attended.append(F.scaled_dot_product_attention(q_1HTD, k_1HLD, v_1HLD, attn_mask=mask_TL))
        rows_HTD.append(torch.cat(attended, dim=2))
    return torch.cat(rows_HTD)
