"""ctypes structures that mirror `structs.hpp` field by field."""

from ctypes import POINTER, Structure, c_float, c_int32, c_void_p


class PackedMatrix(Structure):
    """A weight matrix in panels, its scales if it is quantized, and its bias, or null."""

    _fields_ = (
        *((name, c_void_p) for name in ("weights", "scales", "bias")),
        *((name, c_int32) for name in ("inputs", "outputs", "bits")),
    )


class NormWeights(Structure):
    """Weight and bias of a norm; the bias may be null."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class LayerWeights(Structure):
    """One transformer layer."""

    _fields_ = (
        *((name, NormWeights) for name in ("attention_norm", "query_norm", "key_norm", "mlp_norm")),
        *((name, PackedMatrix) for name in ("qkv", "out", "up", "down")),
        ("uses_rope", c_int32),
        ("window", c_int32),
    )


class ModelWeights(Structure):
    """All weights of a decoder, its sizes and its switches."""

    _fields_ = (
        *((name, c_int32) for name in ("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_dim")),
        *((name, c_int32) for name in ("intermediate_size", "vocab_size", "num_positions")),
        *((name, c_int32) for name in ("is_layer_norm", "is_gated", "is_gelu", "is_embed_bf16")),
        ("norm_eps", c_float),
        ("layers", POINTER(LayerWeights)),
        *((name, c_void_p) for name in ("embed", "position_embed", "rope_cos", "rope_sin")),
        ("final_norm", NormWeights),
        ("lm_head", PackedMatrix),
    )


class KVCacheView(Structure):
    """Memory of the KV cache."""

    _fields_ = (("keys", c_void_p), ("values", c_void_p), ("num_blocks", c_int32), ("is_bf16", c_int32))


class LoraMatrix(Structure):
    """A LoRA update of one matrix; `down` is null if the matrix is not adapted."""

    _fields_ = (*((name, c_void_p) for name in ("down", "up", "dora_scale", "nonzero_ranks")), ("rank", c_int32))


class Batch(Structure):
    """The new tokens of a forward pass."""

    _fields_ = (
        *((name, c_void_p) for name in ("ids", "sequences", "positions", "output_rows")),
        *((name, c_void_p) for name in ("block_tables", "block_table_lengths", "adapters")),
        *((name, c_int32) for name in ("num_rows", "num_output_rows", "return_hidden", "num_sequences")),
        ("max_lora_rank", c_int32),
    )
