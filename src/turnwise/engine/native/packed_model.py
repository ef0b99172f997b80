"""A decoder's weights in the layout of the compiled library.

Matrices in a block format of ggml are stored as they are. Other matrices are stored as bfloat16 where that is exact,
which holds for all models published in bfloat16: a step reads half the memory and gives the same numbers, since the
arithmetic stays float32. With quantization they are integers with scales: int8 with one scale per output, int4 with one
scale per output and group of inputs.

Shapes: O outputs, I inputs.
"""

import torch
from torch import Tensor

from turnwise.core.inference import Quantization
from turnwise.core.system_memory import release_freed_memory
from turnwise.engine.native.packed_matrix import MatrixPacker
from turnwise.engine.native.structs import LayerWeights, ModelWeights, NormWeights, PackedMatrix, WeightFormat
from turnwise.models.decoder_weights import DecoderWeights
from turnwise.models.rope import rope_tables

QUANTIZED_FORMATS = {"int8": WeightFormat.INT8, "int4": WeightFormat.INT4_GROUP}
HEAD_FORMAT = WeightFormat.INT8  # of a quantized LM head, which loses more accuracy with 4 bits than the layers
EXACTNESS_CHUNK = 4096  # rows that are compared with their bfloat16 values at a time


class PackedModel(MatrixPacker):
    """All weights as a `struct` for the library, and the memory that its pointers refer to.

    Weights are read matrix by matrix and converted a few rows at a time: besides the packed weights, at most one matrix
    in its stored dtype is in memory.

    Args:
        weights: the decoder's weights.
        panel: number of outputs in a panel.
        group: number of inputs that share a scale of 4-bit weights.
        quantize: quantize the weights to "int8" or "int4".
        max_positions: size of the rotary position tables. Default: the model's context length.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        panel: int,
        group: int,
        quantize: Quantization | None = None,
        max_positions: int | None = None,
    ) -> None:
        super().__init__(panel, group)
        self._weights, self._quantize = weights, quantize
        config = weights.config
        self._float_format = float_format(weights) if quantize is None else WeightFormat.FLOAT32
        # The embedding first: the largest matrix is converted while little else is in memory.
        embed, lm_head = self._embed_and_head()
        release_freed_memory()
        layers = self.retain((LayerWeights * config.num_layers)())
        for number in range(config.num_layers):
            layers[number] = self._layer(number)
            release_freed_memory()
        rope_cos, rope_sin, num_positions = None, None, config.context_length
        if config.positions == "rope":
            tables = rope_tables(config.rope, config.head_dim, min(config.context_length, max_positions or 2**31))
            num_positions = len(tables[0])
            rope_cos, rope_sin = (self.float_address(table) for table in tables)
        has_position_embed = config.positions == "learned"
        self.struct = ModelWeights(
            num_layers=config.num_layers, hidden_size=config.hidden_size, num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads, head_dim=config.head_dim, intermediate_size=config.intermediate_size,
            vocab_size=config.vocab_size, num_positions=num_positions, is_layer_norm=config.norm == "layer",
            is_gated=config.gated_mlp, is_gelu=config.activation == "gelu_tanh",
            norm_eps=config.norm_eps, layers=layers, rope_cos=rope_cos, rope_sin=rope_sin,
            position_embed=self.float_address(self._read("position.weight")) if has_position_embed else None,
            final_norm=self._norm("norm"), embed=embed, lm_head=lm_head,
        )  # fmt: skip
        del self._weights  # so that a decoder in memory can be freed

    def _layer(self, number: int) -> LayerWeights:
        config, name = self._weights.config, f"layers.{number}"
        return LayerWeights(
            attention_norm=self._norm(f"{name}.attention_norm"),
            query_norm=self._norm(f"{name}.attention.query_norm") if config.qk_norm else NormWeights(),
            key_norm=self._norm(f"{name}.attention.key_norm") if config.qk_norm else NormWeights(),
            mlp_norm=self._norm(f"{name}.mlp_norm"),
            qkv=self._matrix_of(f"{name}.attention.qkv"),
            out=self._matrix_of(f"{name}.attention.out"),
            up=self._matrix_of(f"{name}.mlp.up", is_gate_up=config.gated_mlp),
            down=self._matrix_of(f"{name}.mlp.down"),
            uses_rope=config.positions == "rope" and number not in config.no_rope_layers,
            window=config.layer_windows[number] or 0,
        )

    def _embed_and_head(self) -> tuple[PackedMatrix, PackedMatrix]:
        """Token embedding and LM head. They share memory if they are tied, unless only the head is quantized."""
        config, weights = self._weights.config, self._weights
        if self._quantize is None and config.tied:
            embed = self._matrix_of("embed")
            return embed, embed
        if self._quantize is None and weights.block_formats("embed.weight") is not None:
            return self._matrix_of("embed"), self._matrix_of("head")
        embed_blocks = weights.quantized("embed.weight")
        if embed_blocks is not None and self.can_pack_blocks(embed_blocks, is_gate_up=False):
            head_VC = weights.tensor("embed.weight" if config.tied else "head.weight")
            return self.pack_blocks(embed_blocks, None), self.pack_floats(head_VC, None, HEAD_FORMAT, weights.dtype)
        embed_VC = weights.tensor("embed.weight")
        is_bf16 = _is_exact_in_bfloat16("embed.weight", weights)
        embed_format = WeightFormat.BFLOAT16 if is_bf16 else WeightFormat.FLOAT32
        embed = self.pack_floats(embed_VC, None, embed_format, weights.dtype)
        if self._quantize is None:
            return embed, self._matrix_of("head")
        head_VC = embed_VC if config.tied else weights.tensor("head.weight")
        return embed, self.pack_floats(head_VC, None, HEAD_FORMAT, weights.dtype)

    def _matrix_of(self, name: str, *, is_gate_up: bool = False) -> PackedMatrix:
        """A matrix of the decoder in the format that suits it."""
        bias_O = self._read(f"{name}.bias")
        blocks = self._weights.quantized(f"{name}.weight") if self._quantize is None else None
        if blocks is not None and self.can_pack_blocks(blocks, is_gate_up=is_gate_up):
            return self.pack_blocks(blocks, bias_O, is_gate_up=is_gate_up)
        weight_OI = self._weights.tensor(f"{name}.weight")
        weight_format = self._float_format if blocks is None else WeightFormat.FLOAT32
        if self._quantize is not None:
            weight_format = QUANTIZED_FORMATS[self._quantize]
        return self.pack_floats(weight_OI, bias_O, weight_format, self._weights.dtype, is_gate_up=is_gate_up)

    def _norm(self, name: str) -> NormWeights:
        weight, bias = self._read(f"{name}.weight"), self._read(f"{name}.bias")
        return NormWeights(self.float_address(weight), self.float_address(bias))

    def _read(self, name: str) -> Tensor | None:
        """A tensor in the dtype of the weights, or None if the decoder has none of this name."""
        return self._weights.tensor(name).to(self._weights.dtype) if name in self._weights.shapes else None


def float_format(weights: DecoderWeights) -> WeightFormat:
    """Format of matrices that are not in a block format: BFLOAT16 if that is exact for all of them, else FLOAT32."""
    names = [name for name, shape in weights.shapes.items() if len(shape) == 2 and name != "position.weight"]
    matrices = [name for name in names if name != "embed.weight" or weights.config.tied]
    floats = [name for name in matrices if weights.block_formats(name) is None]
    is_exact = all(_is_exact_in_bfloat16(name, weights) for name in floats)
    return WeightFormat.BFLOAT16 if is_exact else WeightFormat.FLOAT32


def _is_exact_in_bfloat16(name: str, weights: DecoderWeights) -> bool:
    """True if bfloat16 represents a tensor exactly after it is rounded to the dtype of the weights."""
    if torch.bfloat16 in (weights.dtype, weights.stored_dtype(name)) and weights.dtype != torch.float16:
        return True
    tensor = weights.tensor(name)
    for start in range(0, len(tensor), EXACTNESS_CHUNK):
        rows = tensor[start : start + EXACTNESS_CHUNK].to(weights.dtype)
        if not torch.equal(rows.to(torch.bfloat16).float(), rows.float()):
            return False
    return True
