"""Mistral (Jiang et al. 2023): Llama with a sliding window in every layer; later versions have none."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.hf_config import layer_types, llama_like_from_hf_config, llama_like_to_hf_config, require_value
from turnwise.models.weight_mappings import llama_weight_mappings as weight_mappings

__all__ = ["ARCHITECTURE", "from_hf_config", "to_hf_config", "weight_mappings"]

ARCHITECTURE = "MistralForCausalLM"


def from_hf_config(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """Convert a `config.json`."""
    window = hf_config.get("sliding_window", 4096)  # default of the first version
    config = llama_like_from_hf_config(
        hf_config,
        "mistral",
        sliding_window=window,
        windowed_layers=frozenset(range(hf_config["num_hidden_layers"]) if window is not None else ()),
    )
    require_value(hf_config, "layer_types", layer_types(config))
    return config


def to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` of a new model."""
    return {**llama_like_to_hf_config(config), "sliding_window": config.sliding_window}
