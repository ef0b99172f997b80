"""A decoder as a language model that training and evaluation use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from turnwise.models.checkpoint_writer import save
from turnwise.models.decoder import Decoder
from turnwise.models.language_model import ModelKind
from turnwise.models.packed_segments import PackedRows, packed_rows, segment_mask


@dataclass
class DecoderModel:
    """A decoder and the config it was loaded with, which saving preserves (implements `LanguageModel`).

    Shapes: B rows, T tokens in a row, N targets, C hidden size, V vocabulary.
    """

    decoder: Decoder
    hf_config: dict[str, Any] = field(default_factory=dict)

    kind: ClassVar[ModelKind] = "decoder"
    supports_packing: ClassVar[bool] = True
    decoder_start_ids: ClassVar[tuple[int, ...]] = ()

    @property
    def module(self) -> Decoder:
        """The decoder."""
        return self.decoder

    @property
    def embedding(self) -> nn.Module:
        """The token embedding."""
        return self.decoder.embed

    @property
    def context_length(self) -> int:
        """Maximum number of tokens in a sequence."""
        return self.decoder.config.context_length

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.decoder.config.vocab_size

    @property
    def head_parameters(self) -> Sequence[nn.Parameter]:
        """Parameters of the LM head, or of the embedding if they are tied."""
        head = self.decoder.head if self.decoder.head is not None else self.decoder.embed
        return list(head.parameters(recurse=False)) if isinstance(head, nn.Embedding | nn.Linear) else []

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Logits `(N, V)` from hidden states."""
        return self.decoder.logits(hidden_NC)

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
        """Hidden states `(N, C)` of the tokens in `logits_mask_BT`.

        Only those go on to the LM head, which takes a large share of a small model's time.
        """
        assert encoder_ids_BS is encoder_mask_BS is None, "a decoder has no encoder"
        segments = self._segments(segment_ids_BT, positions_BT)
        mask = segment_mask(segment_ids_BT, positions_BT) if segments is None else None
        hidden_BTC = self.decoder(ids_BT, positions_BT=positions_BT, mask=mask, segments=segments)
        hidden_NC: Tensor = hidden_BTC[logits_mask_BT]
        return hidden_NC

    def _segments(self, segment_ids_BT: Tensor, positions_BT: Tensor) -> PackedRows | None:
        """The sequences of each row; None if a mask is needed, or faster, as on a GPU."""
        if segment_ids_BT.device.type != "cpu":
            return None
        rows = packed_rows(segment_ids_BT, positions_BT)
        window = self.decoder.config.sliding_window
        is_windowed = window is not None and any(segment.end > window for row in rows for segment in row)
        return None if is_windowed else rows

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write `config.json` and the weights into a new folder; `hf_config` overrides keys of the config."""
        save(self, folder, dtype=dtype, hf_config=hf_config)
