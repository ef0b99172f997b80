"""Types and ranges of the fields of `config.json` that Turnwise uses, declared once for all families.

`check_hf_config` checks a config before the families convert it, so they can rely on the declared types. The limits are
far beyond any published model; sizes within them are compared with the tensors before memory is allocated.
"""

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import Field

from turnwise.core.json_file import JsonFileModel, validate_fields

MAX_LAYERS = 10_000
MAX_SIZE = 2**24  # of a dimension of a matrix
MAX_LENGTH = 2**30  # of a context or a window, in tokens; the compiled library uses 32-bit integers

Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
Layers = Annotated[int, Field(ge=1, le=MAX_LAYERS)]
Length = Annotated[int, Field(ge=1, le=MAX_LENGTH)]
Epsilon = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=1e-6, le=1e12)]
TokenId = Annotated[int, Field(ge=-1, le=2**31)]

SIZE = Field(1, description=f"a whole number from 1 to {MAX_SIZE:,}")
LAYERS = Field(1, description=f"a whole number from 1 to {MAX_LAYERS:,}")
LENGTH = Field(1, description=f"a whole number from 1 to {MAX_LENGTH:,}")
OPTIONAL_SIZE = Field(None, description=f"a whole number from 1 to {MAX_SIZE:,}, or null")
OPTIONAL_LENGTH = Field(None, description=f"a whole number from 1 to {MAX_LENGTH:,}, or null")
EPSILON = Field(0.0, description="a number from 0 to 1")
FLAG = Field(False, description="true or false")
OPTIONAL_FLAG = Field(None, description="true, false or null")
TEXT = Field(None, description="a text, or null")
OBJECT = Field(None, description="an object, or null")
TOKEN = Field(None, description="a token id, a list of them, or null")


class ConfigFields(JsonFileModel):
    """Fields of all models, including those that transformers computes."""

    model_type: str = Field(description="a text")
    architectures: list[str] | None = Field(None, description="a list of class names, or null")
    is_encoder_decoder: bool | None = OPTIONAL_FLAG
    quantization_config: dict[str, Any] | None = OBJECT
    bos_token_id: TokenId | list[TokenId] | None = TOKEN
    eos_token_id: TokenId | list[TokenId] | None = TOKEN
    pad_token_id: TokenId | list[TokenId] | None = TOKEN


class DecoderFields(ConfigFields):
    """Fields of the families that our decoder computes; the default 1 stands for a size that the family requires."""

    dtype: str | None = TEXT
    torch_dtype: str | None = TEXT
    vocab_size: Size = SIZE
    tie_word_embeddings: bool = FLAG
    initializer_range: Epsilon = EPSILON

    hidden_size: Size = SIZE
    intermediate_size: Size = SIZE
    num_hidden_layers: Layers = LAYERS
    num_attention_heads: Size = SIZE
    num_key_value_heads: Size | None = OPTIONAL_SIZE
    head_dim: Size | None = OPTIONAL_SIZE
    max_position_embeddings: Length = LENGTH
    rms_norm_eps: Epsilon = EPSILON
    hidden_act: str | None = TEXT
    attention_bias: bool | None = OPTIONAL_FLAG
    mlp_bias: bool | None = OPTIONAL_FLAG
    rope_theta: Positive | None = Field(None, description="a number from 1e-6 to 1e12, or null")
    rope_scaling: dict[str, Any] | None = OBJECT
    rope_parameters: dict[str, Any] | None = OBJECT
    partial_rotary_factor: Epsilon | None = Field(None, description="a number from 0 to 1, or null")
    sliding_window: Length | None = OPTIONAL_LENGTH
    use_sliding_window: bool | None = OPTIONAL_FLAG
    max_window_layers: Annotated[int, Field(ge=0, le=MAX_LENGTH)] = Field(0, description="a whole number from 0 on")
    layer_types: list[str] | None = Field(None, description="a list of texts, or null")
    no_rope_layers: list[int] | None = Field(None, description="a list of 0 and 1, or null")
    no_rope_layer_interval: Layers = LAYERS

    n_embd: Size = SIZE
    n_head: Size = SIZE
    n_inner: Size | None = OPTIONAL_SIZE
    n_layer: Layers = LAYERS
    n_positions: Size = SIZE
    layer_norm_epsilon: Epsilon = EPSILON
    activation_function: str | None = TEXT
    scale_attn_weights: bool = FLAG
    scale_attn_by_inverse_layer_idx: bool | None = OPTIONAL_FLAG
    add_cross_attention: bool | None = OPTIONAL_FLAG


class RopeFields(JsonFileModel):
    """Fields of `rope_scaling` and `rope_parameters`."""

    rope_type: str | None = TEXT
    type: str | None = TEXT
    rope_theta: Positive | None = Field(None, description="a number from 1e-6 to 1e12, or null")
    factor: Positive = Field(1.0, description="a number from 1e-6 to 1e12")
    low_freq_factor: Positive = Field(1.0, description="a number from 1e-6 to 1e12")
    high_freq_factor: Positive = Field(1.0, description="a number from 1e-6 to 1e12")
    original_max_position_embeddings: Length = LENGTH
    partial_rotary_factor: Epsilon | None = Field(None, description="a number from 0 to 1, or null")


def check_hf_config(hf_config: dict[str, Any], origin: str, native_types: Collection[str]) -> None:
    """Check the fields of a config that Turnwise uses.

    Args:
        hf_config: contents of `config.json`.
        origin: name of the file in error messages.
        native_types: values of `model_type` that our decoder computes.

    Raises:
        UserError: a field is missing, of another type or out of range.
    """
    validate_fields(ConfigFields, hf_config, origin)
    if hf_config["model_type"] not in native_types:
        return
    validate_fields(DecoderFields, hf_config, origin)
    for name in ("rope_scaling", "rope_parameters"):
        validate_fields(RopeFields, hf_config.get(name) or {}, f"{origin}: '{name}'")
