"""Mistral (Jiang et al. 2023): Llama with a sliding window on every layer, which later versions dropped again."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.weight_mappings import llama_layout as layout
from turnwise.models.hf_config import layer_types, read_llama_like, refuse, write_llama_like

__all__ = ["ARCHITECTURE", "layout", "read", "write"]

ARCHITECTURE = "MistralForCausalLM"


def read(published: Mapping[str, Any]) -> DecoderConfig:
    """Our config of a published one."""
    window = published.get("sliding_window", 4096)  # a config that does not say means the first version's
    config = read_llama_like(
        published,
        "mistral",
        sliding_window=window,
        windowed_layers=frozenset(range(published["num_hidden_layers"]) if window is not None else ()),
    )
    refuse(published, "layer_types", layer_types(config))
    return config


def write(config: DecoderConfig) -> dict[str, Any]:
    """The published config of ours."""
    return {**write_llama_like(config), "sliding_window": config.sliding_window}
