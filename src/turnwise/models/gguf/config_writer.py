"""Writes the metadata of a model's config: the inverse of `config.py`."""

from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np

from turnwise.core.errors import UserError
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.gguf.rope_scaling import ROPE_FACTORS
from turnwise.models.rope import rope_divisors

# Architecture in llama.cpp of our families. Mistral is a Llama there.
ARCHITECTURES_BY_FAMILY = {
    "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "smollm3": "smollm3", "gpt2": "gpt2",
}  # fmt: skip


def architecture_of(config: DecoderConfig) -> str:
    """The architecture in llama.cpp of a decoder.

    Raises:
        UserError: llama.cpp has none, or cannot compute this model.
    """
    architecture = ARCHITECTURES_BY_FAMILY.get(config.family)
    if architecture is None:
        raise UserError(
            f"Models of type '{config.family}' cannot be written as GGUF; supported: {', '.join(ARCHITECTURES_BY_FAMILY)}."
        )
    if config.sliding_window is not None and config.sliding_window < config.context_length:
        raise UserError("llama.cpp computes this architecture without sliding windows, so it would answer differently.")
    return architecture


def write_config(writer: gguf.GGUFWriter, config: DecoderConfig, general: Mapping[str, Any]) -> None:
    """Add the metadata of a config.

    Args:
        writer: the file.
        config: the decoder's config.
        general: `name`, `license` and other texts of the section `general`.
    """
    writer.add_type("model")
    for key, value in general.items():
        writer.add_string(f"general.{key}", str(value))
    writer.add_block_count(config.num_layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_heads)
    writer.add_vocab_size(config.vocab_size)
    if config.norm == "layer":
        writer.add_layer_norm_eps(config.norm_eps)
    else:
        writer.add_layer_norm_rms_eps(config.norm_eps)
    if config.positions == "learned":
        return
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    if config.rope.rope_type == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope.factor)
    elif config.rope.rope_type == "llama3":
        divisors = rope_divisors(config.rope, config.head_dim).numpy().astype(np.float32)
        writer.add_tensor(ROPE_FACTORS, divisors)
