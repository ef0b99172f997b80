"""The interface of a language model for training and evaluation, whether our decoder or transformers computes it.

Shapes: B rows, T tokens in a row, S encoder tokens, N targets, C hidden size, V vocabulary.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

# Decoder: a token attends to earlier ones. Encoder-decoder: also to an encoded input. Encoder: to all tokens.
ModelKind = Literal["decoder", "encoder_decoder", "encoder"]


class LanguageModel(Protocol):
    """A language model and the config it was loaded with.

    Attributes:
        hf_config: contents of its `config.json`.
    """

    hf_config: dict[str, Any]

    @property
    def kind(self) -> ModelKind:
        """The kind of the model."""

    @property
    def supports_packing(self) -> bool:
        """True if a row may hold several sequences that do not attend to each other."""

    @property
    def module(self) -> nn.Module:
        """The module with all parameters."""

    @property
    def embedding(self) -> nn.Module:
        """The token embedding."""

    @property
    def context_length(self) -> int:
        """Maximum number of tokens in a sequence."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""

    @property
    def head_parameters(self) -> Sequence[nn.Parameter]:
        """The parameters that `logits` uses."""

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Logits `(N, V)` from the output of `hidden_states`."""

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
        """Hidden states before the head, `(N, C)`, of the targets, row by row.

        Args:
            ids_BT: token ids.
            logits_mask_BT: True for targets.
            segment_ids_BT: number of the token's segment (`packed_segments.py`); 0 is padding.
            positions_BT: position of the token in its sequence.
            encoder_ids_BS: input of the encoder.
            encoder_mask_BS: 1 for tokens of the encoder's input, 0 for padding.
        """

    @property
    def decoder_start_ids(self) -> tuple[int, ...]:
        """The first tokens of every answer of an encoder-decoder; empty for other models."""

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write `config.json` and the weights into a new folder; `hf_config` overrides keys of the config."""


def block_matrices(module: nn.Module) -> Collection[nn.Parameter]:
    """The weight matrices of linear layers in transformer blocks, without embeddings and LM head."""
    stacks = [name for name, child in module.named_modules() if isinstance(child, nn.ModuleList)]
    embeddings = {id(child.weight) for child in module.modules() if isinstance(child, nn.Embedding)}
    return [
        parameter
        for name, parameter in module.named_parameters()
        if parameter.dim() == 2
        and id(parameter) not in embeddings
        and any(name.startswith(f"{stack}.") for stack in stacks)
    ]
