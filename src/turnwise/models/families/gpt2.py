"""GPT-2 (Radford et al. 2019) and what was trained on from it, such as DialoGPT (Zhang et al. 2020)."""

from collections.abc import Mapping
from typing import Any

from turnwise.models.decoder_config import DecoderConfig
from turnwise.models.weight_mappings import Entry
from turnwise.models.hf_config import activation_of, refuse

ARCHITECTURE = "GPT2LMHeadModel"


def read(published: Mapping[str, Any]) -> DecoderConfig:
    """Our config of a published one."""
    refuse(published, "scale_attn_weights", True)
    refuse(published, "scale_attn_by_inverse_layer_idx", False)
    refuse(published, "add_cross_attention", False)
    width, heads = published["n_embd"], published["n_head"]
    return DecoderConfig(
        family="gpt2",
        vocab_size=published["vocab_size"],
        hidden_size=width,
        intermediate_size=published.get("n_inner") or 4 * width,
        num_layers=published["n_layer"],
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=width // heads,
        context_length=published.get("n_positions", 1024),
        norm="layer",
        norm_eps=published.get("layer_norm_epsilon", 1e-5),
        positions="learned",
        activation=activation_of(published, "activation_function", "gelu_new"),
        gated_mlp=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied=published.get("tie_word_embeddings", True),
        initializer_range=published.get("initializer_range", 0.02),
    )


def write(config: DecoderConfig) -> dict[str, Any]:
    """The published config of ours."""
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


def layout(config: DecoderConfig) -> list[Entry]:
    """The weight names. GPT-2 keeps its projections as (in, out) and has queries, keys and values in one already."""
    entries = [
        Entry("embed.weight", ("transformer.wte.weight",)),
        Entry("position.weight", ("transformer.wpe.weight",)),
    ]
    if not config.tied:
        entries.append(Entry("head.weight", ("lm_head.weight",)))

    def add(ours: str, theirs: str, *, transposed: bool) -> None:
        entries.append(Entry(f"{ours}.weight", (f"transformer.{theirs}.weight",), transposed=transposed))
        entries.append(Entry(f"{ours}.bias", (f"transformer.{theirs}.bias",)))

    add("norm", "ln_f", transposed=False)
    for i in range(config.num_layers):
        add(f"layers.{i}.attention_norm", f"h.{i}.ln_1", transposed=False)
        add(f"layers.{i}.attention.qkv", f"h.{i}.attn.c_attn", transposed=True)
        add(f"layers.{i}.attention.out", f"h.{i}.attn.c_proj", transposed=True)
        add(f"layers.{i}.mlp_norm", f"h.{i}.ln_2", transposed=False)
        add(f"layers.{i}.mlp.up", f"h.{i}.mlp.c_fc", transposed=True)
        add(f"layers.{i}.mlp.down", f"h.{i}.mlp.c_proj", transposed=True)
    return entries
