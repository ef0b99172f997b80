"""Converts the keys of `config.json` that families share, above all those of Llama.

Settings that Turnwise does not support are rejected: a model that runs with slightly wrong results is worse than one
that does not load.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from turnwise.core.errors import InvalidParameter
from turnwise.core.json_file import preview
from turnwise.models.decoder_config import DecoderConfig, rope_from_hf_config, rope_to_hf_config

ACTIVATIONS: dict[str, Literal["silu", "gelu_tanh"]] = {
    "silu": "silu",
    "swish": "silu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
FULL_ATTENTION, SLIDING_ATTENTION = "full_attention", "sliding_attention"


def parse_activation(hf_config: Mapping[str, Any], key: str, default: str) -> Literal["silu", "gelu_tanh"]:
    """The activation function under `key`.

    Raises:
        InvalidParameter: it is not supported.
    """
    name = hf_config.get(key) or default
    if name not in ACTIVATIONS:
        raise InvalidParameter(key, f"'{key}': {preview(name)} is not supported; supported: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def require_value(hf_config: Mapping[str, Any], key: str, supported: Any) -> None:
    """Raise `InvalidParameter` if the config sets `key` to a value other than the supported one."""
    if hf_config.get(key, supported) != supported:
        raise InvalidParameter(key, f"'{key}': {preview(hf_config[key])} is not supported, only {preview(supported)}.")


def parse_windowed_layers(hf_config: Mapping[str, Any], window: int | None, default: Sequence[bool]) -> frozenset[int]:
    """The layers with a sliding window, from `layer_types` or, if the config has none, from `default`.

    Args:
        hf_config: contents of `config.json`.
        window: the sliding window, if the config has one.
        default: for each layer, whether it has a sliding window by default.

    Raises:
        InvalidParameter: `layer_types` does not match the number of layers, or names a type that is not supported.
    """
    types = hf_config.get("layer_types")
    if types is None:
        return frozenset(i for i, is_windowed in enumerate(default) if is_windowed and window is not None)
    if len(types) != len(default):
        raise InvalidParameter(
            "layer_types", f"'layer_types' has {len(types)} entries; the model has {len(default)} layers."
        )
    for layer_type in types:
        if layer_type not in (FULL_ATTENTION, SLIDING_ATTENTION):
            raise InvalidParameter(
                "layer_types",
                f"Layers of type {preview(layer_type)} are not supported, only {FULL_ATTENTION}, {SLIDING_ATTENTION}.",
            )
    layers = frozenset(i for i, layer_type in enumerate(types) if layer_type == SLIDING_ATTENTION)
    if layers and window is None:
        raise InvalidParameter("layer_types", f"'layer_types' has {SLIDING_ATTENTION}, but no 'sliding_window' is set.")
    return layers


def layer_types(config: DecoderConfig) -> list[str]:
    """The value of `layer_types` for a config."""
    return [FULL_ATTENTION if window is None else SLIDING_ATTENTION for window in config.layer_windows]


def llama_like_from_hf_config(
    hf_config: Mapping[str, Any], family: str, *, tied: bool = False, theta: float = 10_000.0, **switches: Any
) -> DecoderConfig:
    """Convert a `config.json` with Llama's keys.

    Args:
        hf_config: contents of `config.json`.
        family: name of the family.
        tied: the family's default of `tie_word_embeddings`.
        theta: the family's default of `rope_theta`.
        switches: fields of `DecoderConfig` in which the family differs from Llama.

    Raises:
        KeyError: a size is missing.
        InvalidParameter: a setting is not supported.
    """
    num_heads = hf_config["num_attention_heads"]
    fields: dict[str, Any] = {
        "vocab_size": hf_config["vocab_size"],
        "hidden_size": hf_config["hidden_size"],
        "intermediate_size": hf_config["intermediate_size"],
        "num_layers": hf_config["num_hidden_layers"],
        "num_heads": num_heads,
        "num_kv_heads": hf_config.get("num_key_value_heads") or num_heads,
        "head_dim": hf_config.get("head_dim") or hf_config["hidden_size"] // num_heads,
        "context_length": hf_config.get("max_position_embeddings", 2048),
        "norm_eps": hf_config.get("rms_norm_eps", 1e-6),
        "activation": parse_activation(hf_config, "hidden_act", "silu"),
        "rope": rope_from_hf_config(hf_config, theta=theta),
        "tied": hf_config.get("tie_word_embeddings", tied),
        "initializer_range": hf_config.get("initializer_range", 0.02),
    }
    return DecoderConfig(family=family, **fields | switches)


def llama_like_to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The keys of `config.json` that Llama and similar families use."""
    return {
        "head_dim": config.head_dim,
        "hidden_act": "silu" if config.activation == "silu" else "gelu_pytorch_tanh",
        "hidden_size": config.hidden_size,
        "initializer_range": config.initializer_range,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.context_length,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_kv_heads,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "vocab_size": config.vocab_size,
        **rope_to_hf_config(config.rope),
    }
