"""A model that transformers computes, as a language model for training, evaluation and the engine.

Shapes: B rows, T tokens in a row, S encoder tokens, N targets, C hidden size, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from turnwise.core.errors import UserError
from turnwise.models.language_model import ModelKind

DEFAULT_CONTEXT_LENGTH = 1024  # for models with relative positions, whose config has no maximum
CONTEXT_LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")


@dataclass
class TransformersModel:
    """A model that transformers computes (implements `LanguageModel`)."""

    module: Any
    kind: ModelKind
    hf_config: dict[str, Any]
    supports_packing = False  # not every model accepts the attention mask that packing needs

    @property
    def embedding(self) -> nn.Module:
        """The token embedding; the encoder's if the model has an encoder and a decoder."""
        embedding: nn.Module = self.module.get_input_embeddings()
        return embedding

    @property
    def context_length(self) -> int:
        """Maximum number of tokens in a sequence."""
        lengths = (getattr(self.module.config, key, None) for key in CONTEXT_LENGTH_KEYS)
        return next((length for length in lengths if isinstance(length, int) and length > 0), DEFAULT_CONTEXT_LENGTH)

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return int(self.module.config.vocab_size)

    @property
    def decoder_start_ids(self) -> tuple[int, ...]:
        """The first tokens of every answer of an encoder-decoder; empty for other models.

        Raises:
            UserError: the model does not define them.
        """
        if self.kind != "encoder_decoder":
            return ()
        generation_config = self.module.generation_config
        start = generation_config.decoder_start_token_id
        if start is None:
            start = getattr(self.module.config, "decoder_start_token_id", None)
        if start is None:
            raise UserError(
                "The model does not define the first token of its decoder: decoder_start_token_id is missing."
            )
        # Some models force a second token, which is always the same and therefore not part of the answer.
        forced = generation_config.forced_bos_token_id
        return (start,) if forced is None else (start, forced)

    @property
    def head_parameters(self) -> Sequence[nn.Parameter]:
        """Parameters of the output embeddings, if they alone compute the logits."""
        return list(self.module.get_output_embeddings().parameters()) if self._has_plain_head else []

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Logits `(N, V)` from the output of `hidden_states`."""
        logits_NV: Tensor = self.module.get_output_embeddings()(hidden_NC) if self._has_plain_head else hidden_NC
        return logits_NV

    def hidden_states(
        self,
        ids_BT: Tensor,
        logits_mask_BT: Tensor,
        *,
        segment_ids_BT: Tensor,
        positions_BT: Tensor,  # noqa: ARG002, rows have one sequence each, so the model's default positions are right
        encoder_ids_BS: Tensor | None = None,
        encoder_mask_BS: Tensor | None = None,
    ) -> Tensor:
        """Hidden states `(N, C)` before the head; logits `(N, V)` if the model does more than apply a head."""
        if self.kind != "encoder_decoder" and int((segment_ids_BT.diff(dim=1) > 0).sum()):
            ids_BT, logits_mask_BT, segment_ids_BT = _unpack_rows(ids_BT, logits_mask_BT, segment_ids_BT)
        attention_mask_BT = (segment_ids_BT > 0).long()
        if self.kind == "encoder_decoder":
            inputs = {
                "input_ids": encoder_ids_BS, "attention_mask": encoder_mask_BS, "decoder_input_ids": ids_BT,
                "decoder_attention_mask": attention_mask_BT, "use_cache": False,
            }  # fmt: skip
        else:
            options = {"use_cache": False} if self.kind == "decoder" else {}
            inputs = {"input_ids": ids_BT, "attention_mask": attention_mask_BT, **options}
        if not self._has_plain_head:
            logits_NV: Tensor = self.module(**inputs).logits[logits_mask_BT]
            return logits_NV
        with _skip_head(self.module.get_output_embeddings()) as head_inputs:
            self.module(**inputs)
        hidden_NC: Tensor = head_inputs[0][logits_mask_BT]
        return hidden_NC

    @cached_property
    def _has_plain_head(self) -> bool:
        """True if the logits are the output embeddings of the hidden states, without scaling or capping.

        Determined by one forward pass on a few tokens.
        """
        head = self.module.get_output_embeddings()
        if head is None or isinstance(self.module, FSDPModule):
            return False
        was_training = self.module.training
        self.module.eval()
        ids = torch.arange(4, device=head.weight.device).remainder(self.vocab_size).unsqueeze(0)
        inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if self.kind == "encoder_decoder" else {})}
        try:
            with torch.no_grad():
                logits = self.module(**inputs).logits
                with _skip_head(head) as head_inputs:
                    self.module(**inputs)
                return len(head_inputs) == 1 and torch.allclose(head(head_inputs[0]), logits, rtol=1e-5, atol=1e-6)
        except (TypeError, ValueError, RuntimeError, IndexError):
            return False
        finally:
            self.module.train(was_training)

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write `config.json` and the weights into a new folder; `hf_config` overrides keys of the config."""
        for key, value in hf_config.items():
            setattr(self.module.config, key, value)
        module = self.module if dtype is None else self.module.to(dtype)
        module.save_pretrained(folder, safe_serialization=True)
        for path in folder.iterdir():
            path.chmod(0o644)  # safetensors makes its files readable by their owner only


@contextmanager
def _skip_head(head: Any) -> Iterator[list[Tensor]]:
    """Replace the head's computation inside the block; its inputs are appended to the list."""
    head_inputs: list[Tensor] = []

    def forward(hidden: Tensor) -> Tensor:
        head_inputs.append(hidden)
        return hidden[..., :1]

    head.forward = forward
    try:
        yield head_inputs
    finally:
        del head.forward


def _unpack_rows(ids_BT: Tensor, logits_mask_BT: Tensor, segment_ids_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put each packed sequence into a row of its own, padded; the order of the targets stays the same."""
    segment_ids = [number for number in dict.fromkeys(segment_ids_BT.flatten().tolist()) if number > 0]
    segment_masks = [segment_ids_BT.flatten() == number for number in segment_ids]
    max_length = max(int(mask.sum()) for mask in segment_masks)

    def unpack(values_BT: Tensor) -> Tensor:
        unpacked = values_BT.new_zeros(len(segment_masks), max_length)
        for row, mask in enumerate(segment_masks):
            values = values_BT.flatten()[mask]
            unpacked[row, : len(values)] = values
        return unpacked

    return unpack(ids_BT), unpack(logits_mask_BT), unpack(segment_ids_BT)
