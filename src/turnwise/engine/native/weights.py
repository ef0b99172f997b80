"""A decoder's weights laid out for the compiled library.

Matrices go into panels (`linear.hpp`). They are kept as bfloat16 where that loses nothing, which is so for all models
published in bfloat16: half the memory to read at every step, and the same numbers, since arithmetic stays float32.
"""

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from turnwise.engine.native.library import Layer, Matrix, Model, Norm
from turnwise.models.decoder import Decoder, FeedForward

Floats = NDArray[np.float32]


class PackedModel:
    """`struct`, for the library, and the memory its pointers point to."""

    def __init__(self, decoder: Decoder, panel: int) -> None:
        config = decoder.config
        self._panel = panel
        self._kept: list[Any] = []
        head = decoder.embed.weight if decoder.head is None else decoder.get_parameter("head.weight")
        matrices = [module.weight for module in decoder.layers.modules() if isinstance(module, nn.Linear)]
        self._half = all(_exact_in_half(weight) for weight in (*matrices, head))
        layers = (Layer * config.num_layers)()
        for number, block in enumerate(decoder.layers):
            layers[number] = self._layer(block, config.window_of[number])
        self._kept.append(layers)
        rope, position = decoder.rope, decoder.position
        cosines, sines = (None, None) if rope is None else (self._floats(rope.cos_PD), self._floats(rope.sin_PD))
        self.struct = Model(
            layers=config.num_layers, hidden=config.hidden_size, heads=config.num_heads, kv_heads=config.num_kv_heads,
            head_dim=config.head_dim, feed_forward=config.intermediate_size, vocabulary=config.vocab_size,
            half=self._half, layer_norm=config.norm == "layer", gated=config.gated_mlp,
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
        return self._packed(
            np.stack([self._panels(part) for part in weight.chunk(2)], axis=1),
            None if bias is None else np.stack([self._panels(part[:, None]) for part in bias.chunk(2)], axis=1),
            weight.shape,
        )

    def _matrix(self, weight_OI: Tensor, bias_O: Tensor | None) -> Matrix:
        bias = None if bias_O is None else self._panels(bias_O[:, None])
        return self._packed(self._panels(weight_OI), bias, weight_OI.shape)

    def _packed(self, panels: Floats, bias: Floats | None, shape: torch.Size) -> Matrix:
        outputs = panels.size // shape[1]
        stored = (panels.view(np.uint32) >> 16).astype(np.uint16) if self._half else panels
        return Matrix(self._address(stored), None if bias is None else self._address(bias), shape[1], outputs)

    def _panels(self, weight_OI: Tensor) -> Floats:
        """`(O / panel, I, panel)`, the last panel filled up with zeros."""
        outputs, inputs = weight_OI.shape
        panels = -(-outputs // self._panel)
        padded = np.zeros((panels * self._panel, inputs), np.float32)
        padded[:outputs] = weight_OI.detach().float().numpy()
        return np.ascontiguousarray(padded.reshape(panels, self._panel, inputs).transpose(0, 2, 1))

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
