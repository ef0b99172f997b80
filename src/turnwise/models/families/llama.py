"""Llama (Touvron et al. 2023) and models with its architecture: SmolLM, SmolLM2, TinyLlama."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.hf_config import llama_like_from_hf_config, llama_like_to_hf_config
from turnwise.models.weight_mappings import llama_weight_mappings as weight_mappings

__all__ = ["ARCHITECTURE", "from_hf_config", "to_hf_config", "weight_mappings"]

ARCHITECTURE = "LlamaForCausalLM"


def from_hf_config(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """Convert a `config.json`."""
    return llama_like_from_hf_config(
        hf_config,
        "llama",
        qkv_bias=hf_config.get("attention_bias", False),
        out_bias=hf_config.get("attention_bias", False),
        mlp_bias=hf_config.get("mlp_bias", False),
    )


def to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` of a new model."""
    return {**llama_like_to_hf_config(config), "attention_bias": config.qkv_bias, "mlp_bias": config.mlp_bias}
