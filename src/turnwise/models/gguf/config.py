"""Converts the metadata of a GGUF file to the content of `config.json` of the supported families.

Names of the metadata: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Some settings are not in the metadata
but in the presence or the shape of tensors: biases, a separate LM head, the vocabulary size, Llama 3's rotary scaling.
Does not import torch.
"""

from collections.abc import Callable
from typing import Any

from turnwise.core.errors import UserError
from turnwise.core.json_file import preview
from turnwise.models.families import FAMILIES, load_family
from turnwise.models.gguf.header import GgufHeader
from turnwise.models.gguf.metadata import GgufMetadata
from turnwise.models.gguf.rope_scaling import convert_rope
from turnwise.models.hf_config import FULL_ATTENTION, SLIDING_ATTENTION
from turnwise.models.hf_config_fields import check_hf_config

MIN_TENSORS_PER_LAYER = 4  # every layer has two norms and several matrices
# Settings that change the computation; the value with which they change nothing.
NEUTRAL_VALUES = {
    "{arch}.expert_count": 0, "{arch}.attention.scale": 0, "{arch}.attention.clamp_kqv": 0,
    "{arch}.attention.max_alibi_bias": 0, "{arch}.attn_logit_softcapping": 0, "{arch}.final_logit_softcapping": 0,
    "{arch}.logit_scale": 0, "{arch}.embedding_scale": 0, "{arch}.residual_scale": 0,
    "{arch}.rope.scaling.attn_factor": 1, "{arch}.attention.temperature_scale": 0,
}  # fmt: skip
DTYPES = {"F32": "float32", "F16": "float16"}  # of a fine-tuned model; for all other formats bfloat16


def convert_config(header: GgufHeader) -> dict[str, Any]:
    """The content of `config.json`, without token ids.

    Raises:
        UserError: the architecture or a setting is not supported, or a value is missing or out of range.
    """
    metadata = GgufMetadata(header)
    convert = CONFIG_CONVERTERS.get(metadata.architecture)
    if convert is None:
        raise UserError(
            f"{header.path} holds a model of the architecture {preview(metadata.architecture)}, which is not "
            f"supported; supported: {', '.join(CONFIG_CONVERTERS)}."
        )
    for key, neutral in NEUTRAL_VALUES.items():
        if metadata.has(key) and (value := metadata.number(key)) != neutral:
            name = key.removeprefix("{arch}.")
            raise UserError(f"{header.path}: '{metadata.architecture}.{name}': {value:g} is not supported.")
    if not metadata.flag("{arch}.attention.causal", True):
        raise UserError(f"{header.path} holds an encoder, which computes embeddings: it cannot generate answers.")
    config = convert(header, metadata)
    config["architectures"] = [load_family(config["model_type"]).ARCHITECTURE]
    config["dtype"] = DTYPES.get(header.tensors["token_embd.weight"].type_name, "bfloat16")
    check_hf_config(config, str(header.path), FAMILIES.names())
    return config


def _sizes(header: GgufHeader, metadata: GgufMetadata) -> dict[str, int]:
    """The sizes that all architectures have."""
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise UserError(f"{header.path} lacks the tensor 'token_embd.weight'.")
    sizes = {
        name: metadata.integer(f"{{arch}}.{name}")
        for name in ("context_length", "embedding_length", "feed_forward_length", "block_count", "attention.head_count")
    }
    if sizes["block_count"] * MIN_TENSORS_PER_LAYER > len(header.tensors):
        raise UserError(f"{header.path}: {sizes['block_count']:,} layers do not fit its {len(header.tensors)} tensors.")
    if not sizes["attention.head_count"]:
        raise UserError(f"{header.path}: '{metadata.architecture}.attention.head_count' is 0.")
    return {**sizes, "vocab_size": embedding.shape[0]}


def _convert_llama_like(header: GgufHeader, metadata: GgufMetadata, model_type: str) -> dict[str, Any]:
    sizes = _sizes(header, metadata)
    num_heads = sizes["attention.head_count"]
    head_dim = metadata.integer("{arch}.attention.key_length", sizes["embedding_length"] // num_heads)
    for key in ("{arch}.attention.value_length", "{arch}.rope.dimension_count"):
        if (size := metadata.integer(key, head_dim)) != head_dim:
            name = key.replace("{arch}", metadata.architecture)
            raise UserError(f"{header.path}: '{name}' is {size}, the head size {head_dim}; they should be equal.")
    return {
        "model_type": model_type,
        "vocab_size": sizes["vocab_size"],
        "hidden_size": sizes["embedding_length"],
        "intermediate_size": sizes["feed_forward_length"],
        "num_hidden_layers": sizes["block_count"],
        "num_attention_heads": num_heads,
        "num_key_value_heads": metadata.integer("{arch}.attention.head_count_kv", num_heads),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": sizes["context_length"],
        "rms_norm_eps": metadata.number("{arch}.attention.layer_norm_rms_epsilon"),
        "attention_bias": "blk.0.attn_q.bias" in header.tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in header.tensors,
        "tie_word_embeddings": "output.weight" not in header.tensors,
        **convert_rope(header, metadata, head_dim),
    }


def _convert_llama(header: GgufHeader, metadata: GgufMetadata) -> dict[str, Any]:
    """Llama; with a sliding window, Mistral's first version, for which the format has no architecture of its own."""
    config = _convert_llama_like(header, metadata, "llama")
    windows = _convert_windows(metadata, config["num_hidden_layers"])
    if not windows:
        return config
    if FULL_ATTENTION in windows["layer_types"]:
        raise UserError(f"{header.path}: sliding windows in some layers are not supported for 'llama'.")
    return {**config, "model_type": "mistral", "sliding_window": windows["sliding_window"]}


def _convert_qwen2(header: GgufHeader, metadata: GgufMetadata) -> dict[str, Any]:
    config = _convert_llama_like(header, metadata, "qwen2")
    return config | _convert_windows(metadata, config["num_hidden_layers"])


def _convert_qwen3(header: GgufHeader, metadata: GgufMetadata) -> dict[str, Any]:
    config = _convert_llama_like(header, metadata, "qwen3")
    return config | _convert_windows(metadata, config["num_hidden_layers"])


def _convert_smollm3(header: GgufHeader, metadata: GgufMetadata) -> dict[str, Any]:
    """SmolLM3. Every fourth layer has no rotary positions; llama.cpp has this in its code, not in the file."""
    config = _convert_llama_like(header, metadata, "smollm3")
    num_layers = config["num_hidden_layers"]
    no_rope_layers = [int((layer + 1) % 4 != 0) for layer in range(num_layers)]
    return {**config, "no_rope_layers": no_rope_layers, **_convert_windows(metadata, num_layers)}


def _convert_gpt2(header: GgufHeader, metadata: GgufMetadata) -> dict[str, Any]:
    sizes = _sizes(header, metadata)
    return {
        "model_type": "gpt2",
        "vocab_size": sizes["vocab_size"],
        "n_embd": sizes["embedding_length"],
        "n_inner": sizes["feed_forward_length"],
        "n_layer": sizes["block_count"],
        "n_head": sizes["attention.head_count"],
        "n_positions": sizes["context_length"],
        "layer_norm_epsilon": metadata.number("{arch}.attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
        "tie_word_embeddings": "output.weight" not in header.tensors,
    }


Converter = Callable[[GgufHeader, GgufMetadata], dict[str, Any]]
CONFIG_CONVERTERS: dict[str, Converter] = {
    "llama": _convert_llama, "qwen2": _convert_qwen2, "qwen3": _convert_qwen3, "smollm3": _convert_smollm3,
    "gpt2": _convert_gpt2,
}  # fmt: skip


def _convert_windows(metadata: GgufMetadata, num_layers: int) -> dict[str, Any]:
    """The sliding window and the layers that have it; empty without one."""
    window = metadata.integer("{arch}.attention.sliding_window", 0)
    if not window:
        return {}
    pattern = metadata.numbers("{arch}.attention.sliding_window_pattern", num_layers) or [1] * num_layers
    layer_types = [SLIDING_ATTENTION if is_windowed else FULL_ATTENTION for is_windowed in pattern]
    return {"use_sliding_window": True, "sliding_window": window, "layer_types": layer_types}
