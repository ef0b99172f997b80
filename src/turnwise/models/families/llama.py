"""Llama (Touvron et al. 2023) and what is shaped like it: SmolLM, SmolLM2, TinyLlama."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.weight_mappings import llama_layout as layout
from turnwise.models.hf_config import read_llama_like, write_llama_like

__all__ = ["ARCHITECTURE", "layout", "read", "write"]

ARCHITECTURE = "LlamaForCausalLM"


def read(published: Mapping[str, Any]) -> DecoderConfig:
    """Our config of a published one."""
    return read_llama_like(
        published,
        "llama",
        qkv_bias=published.get("attention_bias", False),
        out_bias=published.get("attention_bias", False),
        mlp_bias=published.get("mlp_bias", False),
    )


def write(config: DecoderConfig) -> dict[str, Any]:
    """The published config of ours."""
    return {**write_llama_like(config), "attention_bias": config.qkv_bias, "mlp_bias": config.mlp_bias}
