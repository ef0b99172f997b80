"""Qwen 3 (Yang et al. 2025): Qwen 2 with normalised queries and keys, a head size of its own, and no bias."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.families.qwen2 import qwen_windows, write_windows
from turnwise.models.weight_mappings import llama_layout as layout
from turnwise.models.hf_config import read_llama_like, write_llama_like

__all__ = ["ARCHITECTURE", "layout", "read", "write"]

ARCHITECTURE = "Qwen3ForCausalLM"


def read(published: Mapping[str, Any]) -> DecoderConfig:
    """Our config of a published one."""
    return read_llama_like(
        published,
        "qwen3",
        head_dim=published.get("head_dim") or 128,
        qkv_bias=published.get("attention_bias", False),
        out_bias=published.get("attention_bias", False),
        qk_norm=True,
        **qwen_windows(published),
    )


def write(config: DecoderConfig) -> dict[str, Any]:
    """The published config of ours."""
    return {**write_llama_like(config), **write_windows(config), "attention_bias": config.qkv_bias}
