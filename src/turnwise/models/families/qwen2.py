"""Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases for queries, keys and values, and optional sliding windows."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.hf_config import (
    layer_types,
    llama_like_from_hf_config,
    llama_like_to_hf_config,
    parse_windowed_layers,
)
from turnwise.models.weight_mappings import llama_weight_mappings as weight_mappings

__all__ = ["ARCHITECTURE", "from_hf_config", "qwen_windows", "to_hf_config", "weight_mappings", "write_windows"]

ARCHITECTURE = "Qwen2ForCausalLM"


def qwen_windows(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    """The sliding window, if `use_sliding_window` is set, and the layers that have it."""
    window = hf_config.get("sliding_window", 4096) if hf_config.get("use_sliding_window", False) else None
    first_windowed = hf_config.get("max_window_layers", 28)
    is_windowed = [i >= first_windowed for i in range(hf_config["num_hidden_layers"])]
    return {"sliding_window": window, "windowed_layers": parse_windowed_layers(hf_config, window, is_windowed)}


def from_hf_config(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """Convert a `config.json`."""
    return llama_like_from_hf_config(hf_config, "qwen2", qkv_bias=True, **qwen_windows(hf_config))


def write_windows(config: DecoderConfig) -> dict[str, Any]:
    """The keys of `config.json` for the sliding window."""
    return {
        "layer_types": layer_types(config),
        "sliding_window": config.sliding_window,
        "use_sliding_window": config.sliding_window is not None,
    }


def to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` of a new model."""
    return {**llama_like_to_hf_config(config), **write_windows(config)}
