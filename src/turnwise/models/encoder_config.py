"""Configuration of bidirectional encoders with the architecture of BERT (Devlin et al. 2019).

Models of the types `bert`, `roberta` and `xlm-roberta` are supported; they differ in the first position only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from turnwise.core.errors import UserError
from turnwise.core.json_file import JsonFileModel, preview, validate_fields
from turnwise.models.hf_config_fields import EPSILON, FLAG, MAX_SIZE, TEXT, Epsilon, Layers, Length, Size
from turnwise.models.model_folders import read_hf_config

EncoderActivation = Literal["gelu", "gelu_tanh"]
ACTIVATIONS: dict[str, EncoderActivation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
# The first position of a text counted from the padding id: position ids of RoBERTa start after it.
POSITION_OFFSETS = {"bert": None, "roberta": 1, "xlm-roberta": 1}
DEFAULT_PAD_ID = 1  # of RoBERTa
_SIZE = f"a whole number from 1 to {MAX_SIZE:,}"


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes and switches of an encoder.

    Attributes:
        num_positions: maximum number of tokens of a sequence.
        first_position: row of the position embedding that the first token of a sequence gets.
        has_token_types: there is an embedding of token types; all tokens have type 0.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    num_positions: int
    first_position: int = 0
    activation: EncoderActivation = "gelu"
    norm_eps: float = 1e-12
    has_token_types: bool = True

    @property
    def head_dim(self) -> int:
        """Size of a head."""
        return self.hidden_size // self.num_heads


class EncoderFields(JsonFileModel):
    """Fields of `config.json` that Turnwise uses."""

    vocab_size: Size = Field(description=_SIZE)
    hidden_size: Size = Field(description=_SIZE)
    num_hidden_layers: Layers = Field(description=_SIZE)
    num_attention_heads: Size = Field(description=_SIZE)
    intermediate_size: Size = Field(description=_SIZE)
    max_position_embeddings: Length = Field(description=_SIZE)
    type_vocab_size: Annotated[int, Field(ge=0, le=2**24)] = Field(2, description="a whole number from 0 on")
    layer_norm_eps: Epsilon = EPSILON
    hidden_act: str | None = TEXT
    position_embedding_type: str | None = TEXT
    is_decoder: bool = FLAG
    add_cross_attention: bool = FLAG


def read_encoder_config(folder: Path) -> EncoderConfig:
    """The config of the encoder in a folder.

    Raises:
        ModelNotFound: there is no model in the folder.
        UserError: the model has another architecture, or a setting is missing or not supported.
    """
    return parse_encoder_config(read_hf_config(folder), str(folder / "config.json"))


def parse_encoder_config(hf_config: dict[str, Any], origin: str) -> EncoderConfig:
    """Convert a `config.json`.

    Args:
        hf_config: contents of the file.
        origin: name of the file in error messages.

    Raises:
        UserError: as `read_encoder_config`.
    """

    def reject(key: str, supported: str) -> UserError:
        return UserError(f"{origin}: '{key}': {preview(hf_config[key])} is not supported for embeddings; {supported}.")

    if hf_config["model_type"] not in POSITION_OFFSETS:
        raise reject("model_type", f"supported: {', '.join(POSITION_OFFSETS)}")
    validate_fields(EncoderFields, hf_config, origin)
    if (hf_config.get("position_embedding_type") or "absolute") != "absolute":
        raise reject("position_embedding_type", "only 'absolute'")
    activation = hf_config.get("hidden_act") or "gelu"
    if activation not in ACTIVATIONS:
        raise reject("hidden_act", f"supported: {', '.join(ACTIVATIONS)}")
    for key in ("is_decoder", "add_cross_attention", "quantization_config"):
        if hf_config.get(key):
            raise reject(key, "the model must be an encoder with float weights")
    if hf_config["hidden_size"] % hf_config["num_attention_heads"]:
        raise reject("num_attention_heads", "it must divide 'hidden_size'")
    offset, pad_id, first_position = POSITION_OFFSETS[hf_config["model_type"]], hf_config.get("pad_token_id"), 0
    if offset is not None:
        first_position = offset + (pad_id if isinstance(pad_id, int) else DEFAULT_PAD_ID)
    if not 0 <= first_position < hf_config["max_position_embeddings"]:
        raise reject("max_position_embeddings", "there are no positions after the padding id")
    return EncoderConfig(
        vocab_size=hf_config["vocab_size"],
        hidden_size=hf_config["hidden_size"],
        num_layers=hf_config["num_hidden_layers"],
        num_heads=hf_config["num_attention_heads"],
        intermediate_size=hf_config["intermediate_size"],
        num_positions=hf_config["max_position_embeddings"] - first_position,
        first_position=first_position,
        activation=ACTIVATIONS[activation],
        norm_eps=hf_config.get("layer_norm_eps", 1e-12),
        has_token_types=hf_config.get("type_vocab_size", 2) > 0,
    )
