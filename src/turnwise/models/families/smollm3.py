"""SmolLM3 (Hugging Face 2025): Llama with every fourth layer without position embeddings (NoPE, Yang et al. 2025)."""

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
    """Convert a `config.json`."""
    uses_rope = _rope_layers(hf_config)
    window = hf_config.get("sliding_window") if hf_config.get("use_sliding_window", False) else None
    return llama_like_from_hf_config(
        hf_config,
        "smollm3",
        tied=True,
        theta=2_000_000.0,
        qkv_bias=hf_config.get("attention_bias", False),
        out_bias=hf_config.get("attention_bias", False),
        mlp_bias=hf_config.get("mlp_bias", False),
        no_rope_layers=frozenset(i for i, has_rope in enumerate(uses_rope) if not has_rope),
        sliding_window=window,
        windowed_layers=parse_windowed_layers(hf_config, window, [not has_rope for has_rope in uses_rope]),
    )


def _rope_layers(hf_config: Mapping[str, Any]) -> list[bool]:
    """For each layer, whether it uses rotary positions. Despite its name, `no_rope_layers` has 1 for those that do."""
    num_layers, flags = hf_config["num_hidden_layers"], hf_config.get("no_rope_layers")
    if flags is None:
        interval = hf_config.get("no_rope_layer_interval", 4)
        return [(i + 1) % interval != 0 for i in range(num_layers)]
    if len(flags) < num_layers:
        raise InvalidParameter(
            "no_rope_layers", f"'no_rope_layers' has {len(flags)} entries; the model has {num_layers} layers."
        )
    return [bool(flag) for flag in flags[:num_layers]]


def to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` of a new model."""
    return {
        **llama_like_to_hf_config(config),
        "attention_bias": config.qkv_bias,
        "layer_types": layer_types(config),
        "mlp_bias": config.mlp_bias,
        "no_rope_layers": [int(i not in config.no_rope_layers) for i in range(config.num_layers)],
        "sliding_window": config.sliding_window,
        "use_sliding_window": config.sliding_window is not None,
    }
