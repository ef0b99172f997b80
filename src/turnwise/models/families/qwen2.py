"""Qwen 2 and 2.5 (Yang et al. 2024): Llama with biased queries, keys and values, and a window on the upper layers."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.weight_mappings import llama_layout as layout
from turnwise.models.hf_config import layer_types, read_llama_like, windowed_layers_of, write_llama_like

__all__ = ["ARCHITECTURE", "layout", "qwen_windows", "read", "write", "write_windows"]

ARCHITECTURE = "Qwen2ForCausalLM"


def qwen_windows(published: Mapping[str, Any]) -> dict[str, Any]:
    """The sliding window, which counts only where `use_sliding_window` is set, and the layers that have it."""
    window = published.get("sliding_window", 4096) if published.get("use_sliding_window", False) else None
    first = published.get("max_window_layers", 28)
    upper = [i >= first for i in range(published["num_hidden_layers"])]
    return {"sliding_window": window, "windowed_layers": windowed_layers_of(published, window, upper)}


def read(published: Mapping[str, Any]) -> DecoderConfig:
    """Our config of a published one."""
    return read_llama_like(published, "qwen2", qkv_bias=True, **qwen_windows(published))


def write_windows(config: DecoderConfig) -> dict[str, Any]:
    """The published keys of the sliding window."""
    return {
        "layer_types": layer_types(config),
        "sliding_window": config.sliding_window,
        "use_sliding_window": config.sliding_window is not None,
    }


def write(config: DecoderConfig) -> dict[str, Any]:
    """The published config of ours."""
    return {**write_llama_like(config), **write_windows(config)}
