"""ctypes structures that mirror `structs.hpp` field by field."""

from ctypes import POINTER, Structure, c_float, c_int32, c_void_p
from enum import IntEnum


class WeightFormat(IntEnum):
    """How the weights of a segment are stored (`enum WeightFormat`)."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2
    INT8_GROUP = 3
    INT8_GROUP_MIN = 4
    INT8_SUPER_BLOCK = 5
    INT8_HALF_SUPER_BLOCK = 6
    INT4_GROUP = 7
    INT4_GROUP_MIN = 8
    INT4_SUPER_BLOCK = 9


class Pooling(IntEnum):
    """How the hidden states of a sequence become one vector (`enum Pooling`)."""

    NONE = 0
    MEAN = 1
    CLS = 2  # the hidden state of the first token, [CLS]


class MatrixSegment(Structure):
    """Consecutive panels of outputs of a matrix in one format."""

    _fields_ = (
        *((name, c_void_p) for name in ("weights", "scales", "minimums", "super_scales", "super_minimums")),
        *((name, c_int32) for name in ("format", "num_panels")),
    )


class PackedMatrix(Structure):
    """A weight matrix in panels, and its bias, or null."""

    _fields_ = (
        ("segments", POINTER(MatrixSegment)),
        ("bias", c_void_p),
        *((name, c_int32) for name in ("num_segments", "inputs", "outputs")),
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
        *((name, c_int32) for name in ("is_layer_norm", "is_gated", "is_gelu")),
        ("norm_eps", c_float),
        ("layers", POINTER(LayerWeights)),
        *((name, c_void_p) for name in ("position_embed", "rope_cos", "rope_sin")),
        ("final_norm", NormWeights),
        ("embed", PackedMatrix),
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


class EncoderLayerWeights(Structure):
    """One layer of an encoder."""

    _fields_ = (
        *((name, PackedMatrix) for name in ("qkv", "out", "up", "down")),
        *((name, NormWeights) for name in ("attention_norm", "mlp_norm")),
    )


class EncoderWeights(Structure):
    """All weights of an encoder, its sizes and its switches."""

    _fields_ = (
        *((name, c_int32) for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size", "vocab_size")),
        *((name, c_int32) for name in ("num_positions", "is_gelu_tanh", "embed_format")),
        ("norm_eps", c_float),
        ("layers", POINTER(EncoderLayerWeights)),
        *((name, c_void_p) for name in ("embed", "embed_scales", "position_embed")),
        ("embed_norm", NormWeights),
    )


class EncoderBatch(Structure):
    """The sequences of a forward pass of an encoder."""

    _fields_ = (
        *((name, c_void_p) for name in ("ids", "starts")),
        *((name, c_int32) for name in ("num_sequences", "pooling", "normalize")),
    )
