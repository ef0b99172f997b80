"""Published configs: the keys that the families shaped like Llama share, and what none of them may leave to guesswork.

A config says how its weights must be computed. What we do not compute is refused here, because a model that runs and
says slightly wrong things is worse than one that does not run.
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
FULL, SLIDING = "full_attention", "sliding_attention"


def parse_activation(hf_config: Mapping[str, Any], key: str, default: str) -> Literal["silu", "gelu_tanh"]:
    """The activation under `key`.

    Raises:
        InvalidParameter: one that we do not compute.
    """
    name = hf_config.get(key) or default
    if name not in ACTIVATIONS:
        raise InvalidParameter(key, f"'{key}': {preview(name)} is not supported; known: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def require_value(hf_config: Mapping[str, Any], key: str, computed: Any) -> None:
    """Raise `InvalidParameter` where the config asks under `key` for anything but what we compute."""
    if hf_config.get(key, computed) != computed:
        raise InvalidParameter(key, f"'{key}': {preview(hf_config[key])} is not supported, only {preview(computed)}.")


def parse_windowed_layers(hf_config: Mapping[str, Any], window: int | None, default: Sequence[bool]) -> frozenset[int]:
    """The layers with a sliding window: as `layer_types` lists them, else where `default` says so.

    Raises:
        InvalidParameter: `layer_types` does not fit the model or names a kind that we do not compute.
    """
    types = hf_config.get("layer_types")
    if types is None:
        return frozenset(i for i, slides in enumerate(default) if slides and window is not None)
    if len(types) != len(default):
        raise InvalidParameter("layer_types", f"'layer_types' lists {len(types)} layers of {len(default)}.")
    for kind in types:
        if kind not in (FULL, SLIDING):
            raise InvalidParameter(
                "layer_types", f"Layers of type {preview(kind)} are not supported, only {FULL}, {SLIDING}."
            )
    layers = frozenset(i for i, kind in enumerate(types) if kind == SLIDING)
    if layers and window is None:
        raise InvalidParameter("layer_types", f"'layer_types' has {SLIDING} but no 'sliding_window' is in use.")
    return layers


def layer_types(config: DecoderConfig) -> list[str]:
    """The published `layer_types` of ours."""
    return [FULL if window is None else SLIDING for window in config.layer_windows]


def llama_like_from_hf_config(
    hf_config: Mapping[str, Any], family: str, *, tied: bool = False, theta: float = 10_000.0, **switches: Any
) -> DecoderConfig:
    """Our config of a published one that uses Llama's keys.

    Args:
        published: the config as it is in `config.json`.
        family: the family's name.
        tied: whether the family ties its embeddings where the config does not say.
        theta: the family's rotary base where the config does not say.
        switches: what sets this family apart, as fields of `DecoderConfig`.

    Raises:
        KeyError: the config lacks a size.
        InvalidParameter: it asks for what we do not compute.
    """
    heads = hf_config["num_attention_heads"]
    fields: dict[str, Any] = {
        "vocab_size": hf_config["vocab_size"],
        "hidden_size": hf_config["hidden_size"],
        "intermediate_size": hf_config["intermediate_size"],
        "num_layers": hf_config["num_hidden_layers"],
        "num_heads": heads,
        "num_kv_heads": hf_config.get("num_key_value_heads") or heads,
        "head_dim": hf_config.get("head_dim") or hf_config["hidden_size"] // heads,
        "context_length": hf_config.get("max_position_embeddings", 2048),
        "norm_eps": hf_config.get("rms_norm_eps", 1e-6),
        "activation": parse_activation(hf_config, "hidden_act", "silu"),
        "rope": rope_from_hf_config(hf_config, theta=theta),
        "tied": hf_config.get("tie_word_embeddings", tied),
        "initializer_range": hf_config.get("initializer_range", 0.02),
    }
    return DecoderConfig(family=family, **fields | switches)


def llama_like_to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The published keys that Llama began, of our config."""
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
