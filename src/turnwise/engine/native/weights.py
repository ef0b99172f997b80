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

from turnwise.core.ports import Quantize
from turnwise.engine.native.library import Layer, Matrix, Model, Norm
from turnwise.engine.native.packer import Packer
from turnwise.models.decoder import Decoder, FeedForward
from turnwise.models.rounding import quantized

Floats = NDArray[np.float32]
HEAD_BITS = 8  # at least: what answers are read from loses more by fewer bits than the layers do


class PackedModel(Packer):
    """`struct`, for the library, and the memory its pointers point to."""

    def __init__(self, decoder: Decoder, panel: int, group: int, quantize: Quantize | None = None) -> None:
        super().__init__(panel)
        config = decoder.config
        self._group = group
        head = decoder.embed.weight if decoder.head is None else decoder.get_parameter("head.weight")
        matrices = [module.weight for module in decoder.layers.modules() if isinstance(module, nn.Linear)]
        if quantize is not None:
            self._bits = {"int8": 8, "int4": 4}[quantize]
        else:
            self._bits = 16 if all(_exact_in_half(weight) for weight in (*matrices, head)) else 32
        head_bits = max(self._bits, HEAD_BITS)
        layers = self.keep((Layer * config.num_layers)())
        for number, block in enumerate(decoder.layers):
            layers[number] = self._layer(block, config.window_of[number])
        half_embed = _exact_in_half(decoder.embed.weight)
        rope, position = decoder.rope, decoder.position
        cosines, sines = (None, None) if rope is None else (self.floats(rope.cos_PD), self.floats(rope.sin_PD))
        self.struct = Model(
            layers=config.num_layers, hidden=config.hidden_size, heads=config.num_heads, kv_heads=config.num_kv_heads,
            head_dim=config.head_dim, feed_forward=config.intermediate_size, vocabulary=config.vocab_size,
            layer_norm=config.norm == "layer", gated=config.gated_mlp,
            gelu=config.activation == "gelu_tanh", half_embed=half_embed, norm_eps=config.norm_eps,
            layer=layers, embed=(self._halves if half_embed else self.floats)(decoder.embed.weight),
            cosines=cosines, sines=sines,
            position=None if position is None else self.floats(position.weight),
            norm=self._norm(decoder.norm), head=self._matrix(head, None, head_bits),
        )  # fmt: skip

    def _layer(self, block: Any, window: int | None) -> Layer:
        attention, mlp = block.attention, block.mlp
        return Layer(
            attention_norm=self._norm(block.attention_norm),
            query_norm=self._norm(attention.query_norm) if attention.qk_norm else Norm(),
            key_norm=self._norm(attention.key_norm) if attention.qk_norm else Norm(),
            mlp_norm=self._norm(block.mlp_norm),
            qkv=self._matrix(attention.qkv.weight, attention.qkv.bias),
            out=self._matrix(attention.out.weight, attention.out.bias),
            up=self._up(mlp),
            down=self._matrix(mlp.down.weight, mlp.down.bias),
            rotated=attention.rotated,
            window=window or 0,
        )

    def _up(self, mlp: FeedForward) -> Matrix:
        """The projections before the activation; a gate and what it gates with their panels in turn."""
        weight, bias = mlp.up.weight, mlp.up.bias
        if not mlp.gated:
            return self._matrix(weight, bias)
        alternating = [self.alternating(part) for part in (weight, *([] if bias is None else [bias[:, None]]))]
        return self._matrix(alternating[0], None if bias is None else alternating[1][:, 0])

    def _matrix(self, weight_OI: Tensor, bias_O: Tensor | None, bits: int | None = None) -> Matrix:
        bits = bits or self._bits
        weight, inputs = self.padded(weight_OI), weight_OI.shape[1]
        scales: NDArray[Any] | None = None
        if bits > 8:
            stored: NDArray[Any] = self.in_panels(weight)
            if bits == 16:
                stored = (stored.view(np.uint32) >> 16).astype(np.uint16)
        else:
            whole, scales_OG = quantized(nn.functional.pad(weight, (0, -inputs % self._group)), bits, self._group)
            stored, scales = self._whole(whole, bits), self._scales(scales_OG, bits)
        return Matrix(
            weights=self.address(stored),
            scales=None if scales is None else self.address(scales),
            bias=None if bias_O is None else self.address(self.padded(bias_O).numpy()),
            inputs=inputs,
            outputs=len(weight),
            bits=bits,
        )

    def _whole(self, whole_OI: Tensor, bits: int) -> NDArray[Any]:
        """`(O / panel, I / 4, panel, 4)` bytes, each with the 4-bit weight four inputs on in its upper half."""
        steps = whole_OI.view(torch.int32).view(-1, self._panel, whole_OI.shape[1] // 4)
        if bits == 4:
            steps = steps[..., ::2] + 16 * steps[..., 1::2]
        return steps.transpose(1, 2).contiguous().numpy()

    def _scales(self, scales_OG: Tensor, bits: int) -> NDArray[Any]:
        """Floats, `(O)`; or bfloat16, `(O / panel, G, panel)`."""
        if bits == 8:
            return scales_OG[:, 0].contiguous().numpy()
        panels = scales_OG.view(-1, self._panel, scales_OG.shape[1]).transpose(1, 2).contiguous().numpy()
        return (panels.view(np.uint32) >> 16).astype(np.uint16)

    def _norm(self, norm: Any) -> Norm:
        return Norm(self.floats(norm.weight), self.floats(getattr(norm, "bias", None)))

    def _halves(self, tensor: Tensor) -> int:
        return self.address(tensor.detach().bfloat16().contiguous().view(torch.int16).numpy())


def _exact_in_half(weight: Tensor) -> bool:
    return bool(torch.equal(weight.to(torch.bfloat16).float(), weight))
