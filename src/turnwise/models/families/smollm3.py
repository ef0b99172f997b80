"""SmolLM3 (Hugging Face 2025): Llama in which every fourth layer goes without positions (NoPE, Yang et al. 2025)."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.errors import InvalidParameter
from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.weight_mappings import llama_layout as layout
from turnwise.models.hf_config import layer_types, read_llama_like, windowed_layers_of, write_llama_like

__all__ = ["ARCHITECTURE", "layout", "read", "write"]

ARCHITECTURE = "SmolLM3ForCausalLM"


def read(published: Mapping[str, Any]) -> DecoderConfig:
    """Our config of a published one."""
    rotated = _rotated(published)
    window = published.get("sliding_window") if published.get("use_sliding_window", False) else None
    return read_llama_like(
        published,
        "smollm3",
        tied=True,
        theta=2_000_000.0,
        qkv_bias=published.get("attention_bias", False),
        out_bias=published.get("attention_bias", False),
        mlp_bias=published.get("mlp_bias", False),
        unrotated_layers=frozenset(i for i, rotates in enumerate(rotated) if not rotates),
        sliding_window=window,
        windowed_layers=windowed_layers_of(published, window, [not rotates for rotates in rotated]),
    )


def _rotated(published: Mapping[str, Any]) -> list[bool]:
    """For each layer whether it has positions; `no_rope_layers` says 1 where it has, against its name."""
    layers, listed = published["num_hidden_layers"], published.get("no_rope_layers")
    if listed is None:
        interval = published.get("no_rope_layer_interval", 4)
        return [(i + 1) % interval != 0 for i in range(layers)]
    if len(listed) < layers:
        raise InvalidParameter("no_rope_layers", f"'no_rope_layers' lists {len(listed)} layers of {layers}.")
    return [bool(flag) for flag in listed[:layers]]


def write(config: DecoderConfig) -> dict[str, Any]:
    """The published config of ours."""
    return {
        **write_llama_like(config),
        "attention_bias": config.qkv_bias,
        "layer_types": layer_types(config),
        "mlp_bias": config.mlp_bias,
        "no_rope_layers": [int(i not in config.unrotated_layers) for i in range(config.num_layers)],
        "sliding_window": config.sliding_window,
        "use_sliding_window": config.sliding_window is not None,
    }
