"""An encoder of the BERT family as a language model that training uses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turnwise.models.dtypes import DTYPES
from turnwise.models.encoder_config import EncoderConfig
from turnwise.models.encoder_weights import EncoderCheckpoint, hf_tensors
from turnwise.models.language_model import ModelKind
from turnwise.models.model_folders import WEIGHTS_FILE, read_hf_config
from turnwise.models.model_kind import full_model_folder
from turnwise.models.safetensors_writer import save_safetensors
from turnwise.models.trainable_encoder import TrainableEncoder


@dataclass
class EncoderModel:
    """An encoder and the config it was loaded with, which saving preserves (implements `LanguageModel`).

    Shapes: B rows, T tokens in a row, N tokens, C hidden size, V vocabulary.
    """

    encoder: TrainableEncoder
    hf_config: dict[str, Any] = field(default_factory=dict)

    kind: ClassVar[ModelKind] = "encoder"
    supports_packing: ClassVar[bool] = True
    decoder_start_ids: ClassVar[tuple[int, ...]] = ()

    @classmethod
    def load(cls, folder: Path, dropout: float = 0.1) -> "EncoderModel":
        """Load an encoder in float32. Errors as for `EncoderCheckpoint`."""
        weights = EncoderCheckpoint(folder)
        return cls(TrainableEncoder.from_weights(weights, dropout), read_hf_config(full_model_folder(folder)))

    @classmethod
    def create(cls, config: EncoderConfig, seed: int, dropout: float = 0.1) -> "EncoderModel":
        """A BERT encoder with random weights: normal with a standard deviation of 0.02, biases 0, norms 1."""
        encoder = TrainableEncoder(config, dropout)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in encoder.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02, generator=generator)
            else:
                nn.init.constant_(parameter, float(name.endswith("norm.weight")))
        hf_config = {
            "model_type": "bert", "architectures": ["BertModel"], "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size, "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads, "intermediate_size": config.intermediate_size,
            "max_position_embeddings": config.num_positions, "type_vocab_size": 2, "layer_norm_eps": config.norm_eps,
            "hidden_act": "gelu",
        }  # fmt: skip
        return cls(encoder, hf_config)

    @property
    def module(self) -> TrainableEncoder:
        """The encoder."""
        return self.encoder

    @property
    def embedding(self) -> nn.Module:
        """The token embedding."""
        return self.encoder.embed

    @property
    def context_length(self) -> int:
        """Maximum number of tokens in a sequence."""
        return self.encoder.config.num_positions

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.encoder.config.vocab_size

    @property
    def head_parameters(self) -> Sequence[nn.Parameter]:
        """The token embedding, which `logits` uses."""
        return list(self.encoder.embed.parameters())

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Products with the token embedding, `(N, V)`."""
        return F.linear(hidden_NC, self.encoder.embed.weight)

    def hidden_states(
        self,
        ids_BT: Tensor,
        logits_mask_BT: Tensor,
        *,
        segment_ids_BT: Tensor,
        positions_BT: Tensor,  # noqa: ARG002, segments begin at position 0
        encoder_ids_BS: Tensor | None = None,
        encoder_mask_BS: Tensor | None = None,
    ) -> Tensor:
        """Hidden states `(N, C)` of the tokens in `logits_mask_BT`; the sequences of a row do not see each other."""
        assert encoder_ids_BS is encoder_mask_BS is None, "an encoder has one input"
        is_token_BT = segment_ids_BT > 0
        lengths = torch.bincount(segment_ids_BT[is_token_BT])[1:].tolist()
        hidden_NC: Tensor = self.encoder(ids_BT[is_token_BT], lengths)
        return hidden_NC[logits_mask_BT[is_token_BT]]

    def save(self, folder: Path, *, dtype: torch.dtype | None = None, hf_config: Mapping[str, Any]) -> None:
        """Write `config.json` and the weights into a new folder; `hf_config` overrides keys of the config."""
        dtype = dtype or self.encoder.embed.weight.dtype
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            **self.hf_config,
            **hf_config,
            "dtype": next(name for name, value in DTYPES.items() if value == dtype),
        }
        config.pop("torch_dtype", None)
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        state = {name: tensor.detach().to("cpu", dtype) for name, tensor in self.encoder.state_dict().items()}
        num_types = int(self.hf_config.get("type_vocab_size", 2))
        save_safetensors(hf_tensors(self.encoder.config, state, num_types), folder / WEIGHTS_FILE)
