"""A decoder's weights laid out for the compiled library.

Matrices go into panels (`linear.hpp`). They are kept as bfloat16 where that loses nothing, which is so for all models
published in bfloat16: half the memory to read at every step, and the same numbers, since arithmetic stays float32. Or
they are quantized, where that is asked for: whole numbers times a scale (`integer.hpp`), int8 with a scale for every
output, int4 with one for every output and group of inputs.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from turnwise.core.inference import Quantization
from turnwise.core.system_memory import release_freed_memory
from turnwise.engine.native.library import Layer, Matrix, Model, Norm
from turnwise.engine.native.packer import Packer
from turnwise.models.decoder_weights import DecoderWeights
from turnwise.models.quantization import quantize_weight
from turnwise.models.rope import rope_tables

HEAD_BITS = 8  # at least: what answers are read from loses more by fewer bits than the layers do
BITS = {"int8": 8, "int4": 4}


class PackedModel(Packer):
    """`struct`, for the library, and the memory its pointers point to.

    Weights are read one matrix at a time and converted a few rows at a time: beside what is kept there is never more
    than one matrix as it is stored.

    Args:
        weights: the decoder's.
        panel: outputs that the library computes together.
        group: inputs that share a scale of 4 bits.
        quantize: round to so many bits.
        positions: of the longest context; None takes the model's.
    """

    def __init__(
        self,
        weights: DecoderWeights,
        panel: int,
        group: int,
        quantize: Quantization | None = None,
        positions: int | None = None,
    ) -> None:
        super().__init__(panel)
        self._weights, self._group = weights, group
        config = weights.config
        self._bits = packed_bits(weights, quantize)
        embed = weights.tensor("embed.weight")  # the largest comes first, when little else is kept
        half_embed = _is_half("embed.weight", weights)
        embed_address = self._halves(embed) if half_embed else self.floats(embed.to(weights.dtype))
        head = embed if config.tied else weights.tensor("head.weight")
        head_matrix = self._matrix(head, None, max(self._bits, HEAD_BITS))
        del embed, head
        release_freed_memory()
        layers = self.keep((Layer * config.num_layers)())
        for number in range(config.num_layers):
            layers[number] = self._layer(number)
            release_freed_memory()
        cosines, sines, context = None, None, config.context_length
        if config.positions == "rope":
            tables = rope_tables(config.rope, config.head_dim, min(config.context_length, positions or 2**31))
            context = len(tables[0])
            cosines, sines = (self.floats(table) for table in tables)
        learned = config.positions == "learned"
        self.struct = Model(
            layers=config.num_layers, hidden=config.hidden_size, heads=config.num_heads, kv_heads=config.num_kv_heads,
            head_dim=config.head_dim, feed_forward=config.intermediate_size, vocabulary=config.vocab_size,
            context=context, layer_norm=config.norm == "layer", gated=config.gated_mlp,
            gelu=config.activation == "gelu_tanh", half_embed=half_embed, norm_eps=config.norm_eps,
            layer=layers, embed=embed_address, cosines=cosines, sines=sines,
            position=self.floats(self._read("position.weight")) if learned else None,
            norm=self._norm("norm"), head=head_matrix,
        )  # fmt: skip
        del self._weights  # a decoder in memory may go now

    def _layer(self, number: int) -> Layer:
        config, name = self._weights.config, f"layers.{number}"
        return Layer(
            attention_norm=self._norm(f"{name}.attention_norm"),
            query_norm=self._norm(f"{name}.attention.query_norm") if config.qk_norm else Norm(),
            key_norm=self._norm(f"{name}.attention.key_norm") if config.qk_norm else Norm(),
            mlp_norm=self._norm(f"{name}.mlp_norm"),
            qkv=self._linear(f"{name}.attention.qkv"),
            out=self._linear(f"{name}.attention.out"),
            up=self._linear(f"{name}.mlp.up", gated=config.gated_mlp),
            down=self._linear(f"{name}.mlp.down"),
            rotated=config.positions == "rope" and number not in config.no_rope_layers,
            window=config.layer_windows[number] or 0,
        )

    def _linear(self, name: str, *, gated: bool = False) -> Matrix:
        """A projection; where it is gated, the panels of the gate and of what it gates in turn."""
        bias_O = self._read(f"{name}.bias")
        return self._matrix(self._weights.tensor(f"{name}.weight"), bias_O, self._bits, gated=gated)

    def _matrix(self, weight_OI: Tensor, bias_O: Tensor | None, bits: int, *, gated: bool = False) -> Matrix:
        inputs = weight_OI.shape[1]
        panels = self.panels_of(len(weight_OI), gated=gated)
        stored, scales = self._empty(panels, inputs, bits)
        for panel, rows_OI in self.chunks(weight_OI, self._weights.dtype, gated=gated):
            part = slice(panel, panel + len(rows_OI) // self._panel)
            if bits > 8:
                floats = self.in_panels(rows_OI)
                stored[part] = floats if bits == 32 else floats.view(np.uint32) >> 16
            else:
                padded = nn.functional.pad(rows_OI, (0, -inputs % self._group))
                numbers, scales_OG = quantize_weight(padded, bits, self._group)
                stored[part] = self._whole(numbers, bits)
                assert scales is not None
                scales[part] = self._scales(scales_OG, bits)
        bias = None
        if bias_O is not None:
            bias = self.alternating(bias_O[:, None])[:, 0].contiguous() if gated else self.padded(bias_O)
        return Matrix(
            weights=self.address(stored),
            scales=None if scales is None else self.address(scales),
            bias=None if bias is None else self.address(bias.numpy()),
            inputs=inputs,
            outputs=panels * self._panel,
            bits=bits,
        )

    def _empty(self, panels: int, inputs: int, bits: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Memory for a matrix and its scales."""
        if bits > 8:
            return self.empty((panels, inputs, self._panel), np.float32 if bits == 32 else np.uint16), None
        inputs += -inputs % self._group
        words = self.empty((panels, inputs * bits // 32, self._panel), np.int32)
        if bits == 8:
            return words, self.empty((panels, self._panel), np.float32)
        return words, self.empty((panels, inputs // self._group, self._panel), np.uint16)

    def _whole(self, whole_OI: Tensor, bits: int) -> NDArray[Any]:
        """`(O / panel, I / 4, panel, 4)` bytes, each with the 4-bit weight four inputs on in its upper half."""
        steps = whole_OI.view(torch.int32).view(-1, self._panel, whole_OI.shape[1] // 4)
        if bits == 4:
            steps = steps[..., ::2] + 16 * steps[..., 1::2]
        return steps.transpose(1, 2).contiguous().numpy()

    def _scales(self, scales_OG: Tensor, bits: int) -> NDArray[Any]:
        """Floats, `(O / panel, panel)`; or bfloat16, `(O / panel, G, panel)`."""
        if bits == 8:
            return scales_OG.view(-1, self._panel).numpy()
        panels = scales_OG.view(-1, self._panel, scales_OG.shape[1]).transpose(1, 2).contiguous().numpy()
        return (panels.view(np.uint32) >> 16).astype(np.uint16)

    def _norm(self, name: str) -> Norm:
        return Norm(self.floats(self._read(f"{name}.weight")), self.floats(self._read(f"{name}.bias")))

    def _read(self, name: str) -> Tensor | None:
        """A tensor of type `dtype`, or None where the decoder has none of this name."""
        return self._weights.tensor(name).to(self._weights.dtype) if name in self._weights.shapes else None

    def _halves(self, tensor: Tensor) -> int:
        return self.address(tensor.bfloat16().contiguous().view(torch.int16).numpy())


def packed_bits(weights: DecoderWeights, quantize: Quantization | None) -> int:
    """Bits of a weight in the layers: as quantized, else 16 where that is exact for all matrices, or 32."""
    if quantize is not None:
        return BITS[quantize]
    names = [name for name, shape in weights.shapes.items() if len(shape) == 2 and name != "position.weight"]
    matrices = [name for name in names if name != "embed.weight" or weights.config.tied]
    return 16 if all(_is_half(name, weights) for name in matrices) else 32


def _is_half(name: str, weights: DecoderWeights) -> bool:
    """Whether bfloat16 holds a tensor exactly, once it is rounded to the type that is computed with."""
    if torch.bfloat16 in (weights.dtype, weights.stored_dtype(name)) and weights.dtype != torch.float16:
        return True
    tensor = weights.tensor(name)
    for start in range(0, len(tensor), 4096):
        rows = tensor[start : start + 4096].to(weights.dtype)
        if not torch.equal(rows.to(torch.bfloat16).float(), rows.float()):
            return False
    return True
