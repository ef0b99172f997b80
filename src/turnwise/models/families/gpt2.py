"""GPT-2 (Radford et al. 2019) and models derived from it, such as DialoGPT (Zhang et al. 2020)."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.hf_config import parse_activation, require_value
from turnwise.models.weight_mappings import WeightMapping

ARCHITECTURE = "GPT2LMHeadModel"


def from_hf_config(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """Convert a `config.json`."""
    require_value(hf_config, "scale_attn_weights", True)
    require_value(hf_config, "scale_attn_by_inverse_layer_idx", False)
    require_value(hf_config, "add_cross_attention", False)
    hidden_size, num_heads = hf_config["n_embd"], hf_config["n_head"]
    return DecoderConfig(
        family="gpt2",
        vocab_size=hf_config["vocab_size"],
        hidden_size=hidden_size,
        intermediate_size=hf_config.get("n_inner") or 4 * hidden_size,
        num_layers=hf_config["n_layer"],
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=hidden_size // num_heads,
        context_length=hf_config.get("n_positions", 1024),
        norm="layer",
        norm_eps=hf_config.get("layer_norm_epsilon", 1e-5),
        positions="learned",
        activation=parse_activation(hf_config, "activation_function", "gelu_new"),
        gated_mlp=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied=hf_config.get("tie_word_embeddings", True),
        initializer_range=hf_config.get("initializer_range", 0.02),
    )


def to_hf_config(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` of a new model."""
    return {
        "activation_function": "gelu_new" if config.activation == "gelu_tanh" else config.activation,
        "initializer_range": config.initializer_range,
        "layer_norm_epsilon": config.norm_eps,
        "n_embd": config.hidden_size,
        "n_head": config.num_heads,
        "n_inner": config.intermediate_size,
        "n_layer": config.num_layers,
        "n_positions": config.context_length,
        "tie_word_embeddings": config.tied,
        "vocab_size": config.vocab_size,
    }


def weight_mappings(config: DecoderConfig) -> list[WeightMapping]:
    """The names of GPT-2's tensors. Its projections are stored as (in, out), with queries, keys and values joined."""
    mappings = [
        WeightMapping("embed.weight", ("transformer.wte.weight",)),
        WeightMapping("position.weight", ("transformer.wpe.weight",)),
    ]
    if not config.tied:
        mappings.append(WeightMapping("head.weight", ("lm_head.weight",)))

    def add(decoder_name: str, hf_name: str, *, is_transposed: bool) -> None:
        weight_names = (f"transformer.{hf_name}.weight",)
        mappings.append(WeightMapping(f"{decoder_name}.weight", weight_names, is_transposed=is_transposed))
        mappings.append(WeightMapping(f"{decoder_name}.bias", (f"transformer.{hf_name}.bias",)))

    add("norm", "ln_f", is_transposed=False)
    for i in range(config.num_layers):
        add(f"layers.{i}.attention_norm", f"h.{i}.ln_1", is_transposed=False)
        add(f"layers.{i}.attention.qkv", f"h.{i}.attn.c_attn", is_transposed=True)
        add(f"layers.{i}.attention.out", f"h.{i}.attn.c_proj", is_transposed=True)
        add(f"layers.{i}.mlp_norm", f"h.{i}.ln_2", is_transposed=False)
        add(f"layers.{i}.mlp.up", f"h.{i}.mlp.c_fc", is_transposed=True)
        add(f"layers.{i}.mlp.down", f"h.{i}.mlp.c_proj", is_transposed=True)
    return mappings
