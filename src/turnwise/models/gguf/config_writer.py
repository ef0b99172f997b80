"""Writes the metadata of a model's config: the inverse of `config.py`."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from turnwise.core.errors import UserError
from turnwise.models.decoder_config import DecoderConfig, RopeConfig
from turnwise.models.families import load_family
from turnwise.models.gguf.config import convert_config
from turnwise.models.gguf.header import GgufHeader
from turnwise.models.gguf.metadata import GgufMetadata
from turnwise.models.rope import rope_divisors

# Architecture in llama.cpp of our families. Mistral is a Llama there.
ARCHITECTURES_BY_FAMILY = {
    "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "smollm3": "smollm3", "gpt2": "gpt2",
}  # fmt: skip


def architecture_of(config: DecoderConfig) -> str:
    """The architecture in llama.cpp of a decoder.

    Raises:
        UserError: llama.cpp has none, or computes it without sliding windows.
    """
    architecture = ARCHITECTURES_BY_FAMILY.get(config.family)
    if architecture is None:
        raise UserError(
            f"Models of type '{config.family}' cannot be written as GGUF; "
            f"supported: {', '.join(ARCHITECTURES_BY_FAMILY)}."
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


def rope_factors(config: DecoderConfig) -> NDArray[np.float32] | None:
    """The tensor of rotary divisors, `(head_dim / 2,)`, with Llama 3's scaling; None for other models."""
    if config.positions == "learned" or config.rope.rope_type != "llama3":
        return None
    return rope_divisors(config.rope, config.head_dim).numpy().astype(np.float32)


def check_config(header: GgufHeader, config: DecoderConfig) -> None:
    """Compare the config that a written header is read as with the decoder's.

    Raises:
        UserError: the format lacks a setting of the decoder, or llama.cpp has a fixed value for it.
    """
    try:
        hf_config = convert_config(header)
        stored = load_family(hf_config["model_type"]).from_hf_config(hf_config)
    except UserError as error:
        raise UserError(f"This model cannot be written as GGUF: {error}") from error
    stored_settings = _settings(stored)
    for name, value in _settings(config).items():
        if value != stored_settings[name]:
            raise UserError(
                f"This model cannot be written as GGUF: its '{name}' is {value}, and the architecture "
                f"'{GgufMetadata(header).architecture}' in llama.cpp has {stored_settings[name]}."
            )


def _settings(config: DecoderConfig) -> dict[str, Any]:
    """The settings that change results, with floats as the 32-bit numbers of the format.

    A sliding window is none here: `architecture_of` refuses one that is shorter than the context.
    """
    rope = RopeConfig() if config.positions == "learned" else config.rope
    if rope.factor == 1:
        rope = RopeConfig(rope.theta)
    settings = asdict(replace(config, rope=rope))
    for name in ("family", "sliding_window", "windowed_layers", "initializer_range"):
        del settings[name]
    settings |= {f"rope.{name}": value for name, value in settings.pop("rope").items()}
    settings["no_rope_layers"] = sorted(config.no_rope_layers)
    return {name: float(np.float32(value)) if isinstance(value, float) else value for name, value in settings.items()}
