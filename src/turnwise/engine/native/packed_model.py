"""A decoder's weights in the layout of the compiled library.

Matrices are stored in panels (`linear.hpp`). They are stored as bfloat16 where that is exact, which holds for all
models published in bfloat16: a step reads half the memory and gives the same numbers, since the arithmetic stays
float32. With quantization they are integers with scales (`quantized_linear.hpp`): int8 with one scale per output, int4
with one scale per output and group of inputs.

Shapes: O outputs, I inputs, G groups of inputs.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from turnwise.core.inference import Quantization
from turnwise.core.system_memory import release_freed_memory
from turnwise.engine.native.packer import Packer
from turnwise.engine.native.structs import LayerWeights, ModelWeights, NormWeights, PackedMatrix
from turnwise.models.decoder_weights import DecoderWeights
from turnwise.models.quantization import quantize_weight
from turnwise.models.rope import rope_tables

HEAD_BITS = 8  # minimum for the LM head, which loses more accuracy to quantization than the layers
QUANTIZED_BITS = {"int8": 8, "int4": 4}
EXACTNESS_CHUNK = 4096  # rows that are compared with their bfloat16 values at a time


class PackedModel(Packer):
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
        super().__init__(panel)
        self._weights, self._group = weights, group
        config = weights.config
        self._bits = packed_bits(weights, quantize)
        # The embedding first: the largest matrix is converted while little else is in memory.
        embed_VC = weights.tensor("embed.weight")
        is_embed_bf16 = _is_exact_in_bfloat16("embed.weight", weights)
        embed = self._bfloat16_address(embed_VC) if is_embed_bf16 else self.float_address(embed_VC.to(weights.dtype))
        head_VC = embed_VC if config.tied else weights.tensor("head.weight")
        lm_head = self._matrix(head_VC, None, max(self._bits, HEAD_BITS))
        del embed_VC, head_VC
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
            is_gated=config.gated_mlp, is_gelu=config.activation == "gelu_tanh", is_embed_bf16=is_embed_bf16,
            norm_eps=config.norm_eps, layers=layers, embed=embed, rope_cos=rope_cos, rope_sin=rope_sin,
            position_embed=self.float_address(self._read("position.weight")) if has_position_embed else None,
            final_norm=self._norm("norm"), lm_head=lm_head,
        )  # fmt: skip
        del self._weights  # so that a decoder in memory can be freed

    def _layer(self, number: int) -> LayerWeights:
        config, name = self._weights.config, f"layers.{number}"
        return LayerWeights(
            attention_norm=self._norm(f"{name}.attention_norm"),
            query_norm=self._norm(f"{name}.attention.query_norm") if config.qk_norm else NormWeights(),
            key_norm=self._norm(f"{name}.attention.key_norm") if config.qk_norm else NormWeights(),
            mlp_norm=self._norm(f"{name}.mlp_norm"),
            qkv=self._linear(f"{name}.attention.qkv"),
            out=self._linear(f"{name}.attention.out"),
            up=self._linear(f"{name}.mlp.up", is_gate_up=config.gated_mlp),
            down=self._linear(f"{name}.mlp.down"),
            uses_rope=config.positions == "rope" and number not in config.no_rope_layers,
            window=config.layer_windows[number] or 0,
        )

    def _linear(self, name: str, *, is_gate_up: bool = False) -> PackedMatrix:
        """A projection; gate and up panels alternate if they are fused."""
        bias_O = self._read(f"{name}.bias")
        return self._matrix(self._weights.tensor(f"{name}.weight"), bias_O, self._bits, is_gate_up=is_gate_up)

    def _matrix(self, weight_OI: Tensor, bias_O: Tensor | None, bits: int, *, is_gate_up: bool = False) -> PackedMatrix:
        inputs = weight_OI.shape[1]
        num_panels = self.count_panels(len(weight_OI), is_gate_up=is_gate_up)
        packed, scales = self._empty(num_panels, inputs, bits)
        for panel, rows_OI in self.iterate_chunks(weight_OI, self._weights.dtype, is_gate_up=is_gate_up):
            chunk = slice(panel, panel + len(rows_OI) // self._panel)
            if bits > 8:
                floats = self.in_panels(rows_OI)
                packed[chunk] = floats if bits == 32 else floats.view(np.uint32) >> 16
            else:
                padded_OI = nn.functional.pad(rows_OI, (0, -inputs % self._group))
                quantized_OI, scales_OG = quantize_weight(padded_OI, bits, self._group)
                packed[chunk] = self._pack_integers(quantized_OI, bits)
                assert scales is not None, "quantized matrices have scales"
                scales[chunk] = self._pack_scales(scales_OG, bits)
        bias = None
        if bias_O is not None:
            bias = self.interleave_gate_up(bias_O[:, None])[:, 0].contiguous() if is_gate_up else self.pad_rows(bias_O)
        return PackedMatrix(
            weights=self.address(packed),
            scales=None if scales is None else self.address(scales),
            bias=None if bias is None else self.address(bias.numpy()),
            inputs=inputs,
            outputs=num_panels * self._panel,
            bits=bits,
        )

    def _empty(self, num_panels: int, inputs: int, bits: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Memory for a matrix and, if it is quantized, its scales."""
        if bits > 8:
            return self.empty((num_panels, inputs, self._panel), np.float32 if bits == 32 else np.uint16), None
        inputs += -inputs % self._group
        words = self.empty((num_panels, inputs * bits // 32, self._panel), np.int32)
        if bits == 8:
            return words, self.empty((num_panels, self._panel), np.float32)
        return words, self.empty((num_panels, inputs // self._group, self._panel), np.uint16)

    def _pack_integers(self, quantized_OI: Tensor, bits: int) -> NDArray[Any]:
        """Bytes `(O / panel, I / 4, panel, 4)`, four inputs at a time as a 32-bit word.

        With 4 bits, a byte holds a weight in its low half, and the weight four inputs later in its high half.
        """
        words = quantized_OI.view(torch.int32).view(-1, self._panel, quantized_OI.shape[1] // 4)
        if bits == 4:
            words = words[..., ::2] + 16 * words[..., 1::2]
        return words.transpose(1, 2).contiguous().numpy()

    def _pack_scales(self, scales_OG: Tensor, bits: int) -> NDArray[Any]:
        """8 bits: float32 `(O / panel, panel)`. 4 bits: bfloat16 `(O / panel, G, panel)`."""
        if bits == 8:
            return scales_OG.view(-1, self._panel).numpy()
        panels = scales_OG.view(-1, self._panel, scales_OG.shape[1]).transpose(1, 2).contiguous().numpy()
        return (panels.view(np.uint32) >> 16).astype(np.uint16)

    def _norm(self, name: str) -> NormWeights:
        weight, bias = self._read(f"{name}.weight"), self._read(f"{name}.bias")
        return NormWeights(self.float_address(weight), self.float_address(bias))

    def _read(self, name: str) -> Tensor | None:
        """A tensor in the dtype of the weights, or None if the decoder has none of this name."""
        return self._weights.tensor(name).to(self._weights.dtype) if name in self._weights.shapes else None

    def _bfloat16_address(self, tensor: Tensor) -> int:
        return self.address(tensor.bfloat16().contiguous().view(torch.int16).numpy())


def packed_bits(weights: DecoderWeights, quantize: Quantization | None) -> int:
    """Bits per weight of the layers: as quantized; else 16 if bfloat16 is exact for all matrices, or 32."""
    if quantize is not None:
        return QUANTIZED_BITS[quantize]
    names = [name for name, shape in weights.shapes.items() if len(shape) == 2 and name != "position.weight"]
    matrices = [name for name in names if name != "embed.weight" or weights.config.tied]
    return 16 if all(_is_exact_in_bfloat16(name, weights) for name in matrices) else 32


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
