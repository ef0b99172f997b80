"""Qwen 3 (Yang et al. 2025): Qwen 2 with normalised queries and keys, a separate head size, and no biases."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.families.qwen2 import qwen_windows, write_windows
from turnwise.models.hf_config import llama_like_from_hf_config, llama_like_to_hf_config
from turnwise.models.weight_mappings import llama_weight_mappings as weight_mappings

__all__ = ["ARCHITECTURE", "from_hf_config", "to_hf_config", "weight_mappings"]

ARCHITECTURE = "Qwen3ForCausalLM"


def from_hf_config(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """Convert a `config.json`."""
    return llama_like_from_hf_config(
        hf_config,
        "qwen3",
        head_dim=hf_config.get("head_dim") or 128,
        qkv_bias=hf_config.get("attention_bias", False),
        out_bias=hf_config.get("attention_bias", False),
        qk_norm=True,
        **qwen_windows(hf_config),
    )


def to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` of a new model."""
    return {**llama_like_to_hf_config(config), **write_windows(config), "attention_bias": config.qkv_bias}
