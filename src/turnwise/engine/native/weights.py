"""A decoder's weights laid out for the compiled library.

Matrices go into panels (`linear.hpp`). They are kept as bfloat16 where that loses nothing, which is so for all models
published in bfloat16: half the memory to read at every step, and the same numbers, since arithmetic stays float32. Or
they are quantized, where that is asked for: whole numbers times a scale (`integer.hpp`), int8 with a scale for every
output, int4 with one for every output and group of inputs.
"""

import ctypes
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from turnwise.engine.native.library import Layer, Matrix, Model, Norm
from turnwise.models.decoder import Decoder, FeedForward

Floats = NDArray[np.float32]
Quantize = Literal["int8", "int4"]
REACHES = (8.0,)  # what the furthest weight of a group may be divided by


class PackedModel:
    """`struct`, for the library, and the memory its pointers point to."""

    def __init__(self, decoder: Decoder, panel: int, group: int, quantize: Quantize | None = None) -> None:
        config = decoder.config
        self._panel, self._group = panel, group
        self._kept: list[Any] = []
        head = decoder.embed.weight if decoder.head is None else decoder.get_parameter("head.weight")
        matrices = [module.weight for module in decoder.layers.modules() if isinstance(module, nn.Linear)]
        if quantize is not None:
            self._bits = {"int8": 8, "int4": 4}[quantize]
        else:
            self._bits = 16 if all(_exact_in_half(weight) for weight in (*matrices, head)) else 32
        layers = (Layer * config.num_layers)()
        for number, block in enumerate(decoder.layers):
            layers[number] = self._layer(block, config.window_of[number])
        self._kept.append(layers)
        rope, position = decoder.rope, decoder.position
        cosines, sines = (None, None) if rope is None else (self._floats(rope.cos_PD), self._floats(rope.sin_PD))
        self.struct = Model(
            layers=config.num_layers, hidden=config.hidden_size, heads=config.num_heads, kv_heads=config.num_kv_heads,
            head_dim=config.head_dim, feed_forward=config.intermediate_size, vocabulary=config.vocab_size,
            bits=self._bits, layer_norm=config.norm == "layer", gated=config.gated_mlp,
            gelu=config.activation == "gelu_tanh", norm_eps=config.norm_eps, layer=layers,
            embed=self._floats(decoder.embed.weight), cosines=cosines, sines=sines,
            position=None if position is None else self._floats(position.weight),
            norm=self._norm(decoder.norm), head=self._matrix(head, None),
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
        """Gate and up projection with their panels in turn, so that whoever has computed one goes on with the other."""
        weight, bias = mlp.up.weight, mlp.up.bias
        if not mlp.gated:
            return self._matrix(weight, bias)
        alternating = [self._alternating(part) for part in (weight, *([] if bias is None else [bias[:, None]]))]
        return self._matrix(alternating[0], None if bias is None else alternating[1][:, 0])

    def _alternating(self, gate_and_up: Tensor) -> Tensor:
        gate, up = (self._padded(part) for part in gate_and_up.chunk(2))
        by_panel = (-1, self._panel, gate.shape[1])
        return torch.stack([gate.view(by_panel), up.view(by_panel)], dim=1).view(-1, gate.shape[1])

    def _matrix(self, weight_OI: Tensor, bias_O: Tensor | None) -> Matrix:
        weight, inputs = self._padded(weight_OI), weight_OI.shape[1]
        scales: NDArray[Any] | None = None
        if self._bits > 8:
            stored = weight.view(-1, self._panel, inputs).transpose(1, 2).contiguous().numpy()
            if self._bits == 16:
                stored = (stored.view(np.uint32) >> 16).astype(np.uint16)
        else:
            whole, scales_OG = quantized(nn.functional.pad(weight, (0, -inputs % self._group)), self._bits, self._group)
            stored, scales = self._whole(whole), self._scales(scales_OG)
        return Matrix(
            weights=self._address(stored),
            scales=None if scales is None else self._address(scales),
            bias=None if bias_O is None else self._address(self._padded(bias_O).numpy()),
            inputs=inputs,
            outputs=len(weight),
        )

    def _padded(self, tensor: Tensor) -> Tensor:
        """As float32, filled up with zeros to whole panels of rows."""
        missing = -len(tensor) % self._panel
        found = tensor.detach().float().contiguous()
        return nn.functional.pad(found, (0, 0) * (tensor.dim() - 1) + (0, missing)) if missing else found

    def _whole(self, whole_OI: Tensor) -> NDArray[np.uint8]:
        """`(O / panel, I / 4, panel, 4)` bytes, each with the 4-bit weight four inputs on in its upper half."""
        steps = whole_OI.view(-1, self._panel, whole_OI.shape[1] // 4, 4).transpose(1, 2)
        if self._bits == 4:
            steps = steps[:, ::2] + 16 * steps[:, 1::2]
        return np.ascontiguousarray(steps.numpy())

    def _scales(self, scales_OG: Tensor) -> NDArray[Any]:
        """Floats, `(O)`; or bfloat16, `(O / panel, G, panel)`."""
        if self._bits == 8:
            return scales_OG[:, 0].contiguous().numpy()
        panels = scales_OG.view(-1, self._panel, scales_OG.shape[1]).transpose(1, 2).contiguous().numpy()
        return (panels.view(np.uint32) >> 16).astype(np.uint16)

    def _norm(self, norm: Any) -> Norm:
        return Norm(self._floats(norm.weight), self._floats(getattr(norm, "bias", None)))

    def _floats(self, tensor: Tensor | None) -> int | None:
        return None if tensor is None else self._address(tensor.detach().float().contiguous().numpy())

    def _address(self, array: NDArray[Any]) -> int:
        assert array.flags.c_contiguous, "the library reads rows one after the other"
        self._kept.append(array)
        return int(ctypes.cast(array.ctypes.data, ctypes.c_void_p).value or 0)


def _exact_in_half(weight: Tensor) -> bool:
    return bool(torch.equal(weight.to(torch.bfloat16).float(), weight))


def quantized(weight_OI: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor]:
    """Whole numbers and scales with `weight = (whole - 2 ** (bits - 1)) * scale`, as nearly as `bits` allow.

    Returns `(O, I)` of uint8 and `(O, G)` of float32: one scale for every output, or with 4 bits one for every group of
    inputs, exact in bfloat16.
    """
    outputs, inputs = weight_OI.shape
    whole = torch.empty(outputs, inputs, dtype=torch.uint8)
    scales = torch.empty(outputs, 1 if bits == 8 else inputs // group)
    rows = max(1, 2**22 // inputs)  # at a time: bounds the memory, and stays near the processor
    for start in range(0, outputs, rows):
        part = weight_OI[start : start + rows].view(-1, scales.shape[1], inputs // scales.shape[1])
        numbers, scale = _eight_bits(part) if bits == 8 else _four_bits(part)
        whole[start : start + rows] = numbers.flatten(1)
        scales[start : start + rows] = scale
    return whole, scales


def _eight_bits(weight_OGI: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight_OGI.abs().amax(-1, keepdim=True) / 127
    return _whole(weight_OGI, scale, 127).add_(128).byte(), scale[..., 0]


def _four_bits(weight_OGI: Tensor) -> tuple[Tensor, Tensor]:
    """From -8 to 7, the furthest weight being a negative number; of a few scales the one of least squared error."""
    low, high = weight_OGI.amin(-1, keepdim=True), weight_OGI.amax(-1, keepdim=True)
    furthest = torch.where(-low > high, low, high)
    best, least = torch.zeros_like(furthest), torch.full_like(furthest, torch.inf)
    for reach in REACHES:
        scale = (furthest / -reach).bfloat16().float()
        error = (_whole(weight_OGI, scale, 7) * scale).sub_(weight_OGI).square_().sum(-1, keepdim=True)
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return _whole(weight_OGI, best, 7).add_(8).byte(), best[..., 0]


def _whole(weight_OGI: Tensor, scale: Tensor, highest: int) -> Tensor:
    return (weight_OGI / scale).nan_to_num_(0.0).round_().clamp_(-highest - 1, highest)
