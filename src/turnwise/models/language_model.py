"""What training needs of a model, whoever computes it: our decoder, or transformers.

Shapes: B rows, T tokens in a row, S tokens of a source, N targets, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

# How it reads: what came before; a source, and then what came before; everything at once.
ModelKind = Literal["decoder", "encoder_decoder", "encoder"]


class LanguageModel(Protocol):
    """A language model and the published config it came with.

    Attributes:
        published: contents of its `config.json`.
    """

    hf_config: dict[str, Any]

    @property
    def kind(self) -> ModelKind:
        """How it reads."""

    @property
    def supports_packing(self) -> bool:
        """Whether several sequences may lie in one row, each seeing itself only."""

    @property
    def module(self) -> nn.Module:
        """Its weights."""

    @property
    def embedding(self) -> nn.Module:
        """What turns ids into vectors."""

    @property
    def context_length(self) -> int:
        """Most tokens it reads."""

    @property
    def vocab_size(self) -> int:
        """Its ids run from 0 to this, exclusive."""

    @property
    def head_parameters(self) -> Sequence[nn.Parameter]:
        """What `score` computes with."""

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Scores over the vocabulary, `(N, V)`, of what `hidden` returned."""

    def hidden_states(
        self,
        ids_BT: Tensor,
        logits_mask_BT: Tensor,
        *,
        segment_ids_BT: Tensor,
        positions_BT: Tensor,
        encoder_ids_BS: Tensor | None = None,
        encoder_mask_BS: Tensor | None = None,
    ) -> Tensor:
        """What the head reads where scores are wanted, `(N, C)`, row by row.

        Args:
            ids_BT: token ids.
            wanted_BT: where scores are wanted.
            segments_BT: the sequence that a token belongs to; 0 is padding.
            positions_BT: its place there.
            sources_BS: what the encoder reads.
            source_mask_BS: 1 where a source has a token.
        """

    @property
    def decoder_start_ids(self) -> tuple[int, ...]:
        """What a decoder that has an encoder begins every answer with; () for the others."""

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write `config.json` and the weights into a fresh folder."""


def segment_mask(segment_ids_BT: Tensor) -> Tensor:
    """True where a token may look: its own sequence, up to itself, `(B, 1, T, T)`."""
    same = segment_ids_BT.unsqueeze(2) == segment_ids_BT.unsqueeze(1)
    return same.tril().unsqueeze(1)
