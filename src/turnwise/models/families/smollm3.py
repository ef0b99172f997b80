"""SmolLM3 (Hugging Face 2025): Llama in which every fourth layer goes without positions (NoPE, Yang et al. 2025)."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.hf_config import (
    layer_types,
    llama_like_from_hf_config,
    llama_like_to_hf_config,
    parse_windowed_layers,
)
from turnwise.models.weight_mappings import llama_weight_mappings as weight_mappings

__all__ = ["ARCHITECTURE", "from_hf_config", "to_hf_config", "weight_mappings"]

ARCHITECTURE = "SmolLM3ForCausalLM"


def from_hf_config(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """Our config of a published one."""
    rotated = _rotated(hf_config)
    window = hf_config.get("sliding_window") if hf_config.get("use_sliding_window", False) else None
    return llama_like_from_hf_config(
        hf_config,
        "smollm3",
        tied=True,
        theta=2_000_000.0,
        qkv_bias=hf_config.get("attention_bias", False),
        out_bias=hf_config.get("attention_bias", False),
        mlp_bias=hf_config.get("mlp_bias", False),
        no_rope_layers=frozenset(i for i, rotates in enumerate(rotated) if not rotates),
        sliding_window=window,
        windowed_layers=parse_windowed_layers(hf_config, window, [not rotates for rotates in rotated]),
    )


def _rotated(hf_config: Mapping[str, Any]) -> list[bool]:
    """For each layer whether it has positions; `no_rope_layers` says 1 where it has, against its name."""
    layers, listed = hf_config["num_hidden_layers"], hf_config.get("no_rope_layers")
    if listed is None:
        interval = hf_config.get("no_rope_layer_interval", 4)
        return [(i + 1) % interval != 0 for i in range(layers)]
    if len(listed) < layers:
        raise InvalidParameter("no_rope_layers", f"'no_rope_layers' lists {len(listed)} layers of {layers}.")
    return [bool(flag) for flag in listed[:layers]]


def to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The published config of ours."""
    return {
        **llama_like_to_hf_config(config),
        "attention_bias": config.qkv_bias,
        "layer_types": layer_types(config),
        "mlp_bias": config.mlp_bias,
        "no_rope_layers": [int(i not in config.no_rope_layers) for i in range(config.num_layers)],
        "sliding_window": config.sliding_window,
        "use_sliding_window": config.sliding_window is not None,
    }
