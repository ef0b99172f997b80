"""An encoder's weights in the layout of the compiled library.

Matrices are stored as bfloat16 if that is exact for all of them, else as float32; with quantization as 8-bit integers
with one scale per output. Token embeddings are stored token by token; their 8-bit form has one scale per token.

Shapes: V vocabulary, C hidden size.
"""

import numpy as np
import torch
from torch import Tensor

from turnwise.core.system_memory import release_freed_memory
from turnwise.engine.native.packed_matrix import MatrixPacker
from turnwise.engine.native.structs import (
    EncoderLayerWeights,
    NormWeights,
    PackedMatrix,
    WeightFormat,
)
from turnwise.engine.native.structs import EncoderWeights as EncoderStruct
from turnwise.models.encoder_weights import EncoderWeights, weight_shapes

MAX_INT8 = 127
EMBED_CHUNK = 8192  # tokens whose embeddings are converted at a time


class PackedEncoder(MatrixPacker):
    """All weights as a `struct` for the library, and the memory that its pointers refer to.

    Args:
        weights: the encoder's weights, read one by one.
        panel: number of outputs in a panel.
        group: number of inputs whose activations share a scale.
        is_int8: quantize the matrices and the token embeddings to 8 bits.
    """

    def __init__(self, weights: EncoderWeights, panel: int, group: int, *, is_int8: bool = False) -> None:
        super().__init__(panel, group)
        self._weights, config = weights, weights.config
        self._format = WeightFormat.INT8 if is_int8 else float_format(weights)
        embed_format, embed, embed_scales = self._embedding(weights.tensor("embed.weight"))
        release_freed_memory()
        layers = self.retain((EncoderLayerWeights * config.num_layers)())
        for number in range(config.num_layers):
            name = f"layers.{number}"
            layers[number] = EncoderLayerWeights(
                **{matrix: self._matrix_of(f"{name}.{matrix}") for matrix in ("qkv", "out", "up", "down")},
                **{norm: self._norm(f"{name}.{norm}") for norm in ("attention_norm", "mlp_norm")},
            )
            release_freed_memory()
        self.struct = EncoderStruct(
            num_layers=config.num_layers, hidden_size=config.hidden_size, num_heads=config.num_heads,
            intermediate_size=config.intermediate_size, vocab_size=config.vocab_size,
            num_positions=config.num_positions, is_gelu_tanh=config.activation == "gelu_tanh",
            embed_format=embed_format, norm_eps=config.norm_eps, layers=layers, embed=embed,
            embed_scales=embed_scales, position_embed=self.float_address(weights.tensor("position.weight")),
            embed_norm=self._norm("embed_norm"),
        )  # fmt: skip
        del self._weights

    def _matrix_of(self, name: str) -> PackedMatrix:
        weight_OI, bias_O = self._weights.tensor(f"{name}.weight"), self._weights.tensor(f"{name}.bias")
        return self.pack_floats(weight_OI, bias_O, self._format, torch.float32)

    def _norm(self, name: str) -> NormWeights:
        weight, bias = self._weights.tensor(f"{name}.weight"), self._weights.tensor(f"{name}.bias")
        return NormWeights(self.float_address(weight), self.float_address(bias))

    def _embedding(self, embed_VC: Tensor) -> tuple[WeightFormat, int | None, int | None]:
        """Format, address and address of the scales of the token embeddings."""
        if self._format == WeightFormat.FLOAT32:
            return self._format, self.float_address(embed_VC), None
        if self._format == WeightFormat.BFLOAT16:
            bits_VC = self.empty(tuple(embed_VC.shape), np.uint16)
            for start in range(0, len(embed_VC), EMBED_CHUNK):
                chunk = embed_VC[start : start + EMBED_CHUNK].float().contiguous().numpy()
                bits_VC[start : start + EMBED_CHUNK] = chunk.view(np.uint32) >> 16
            return self._format, self.address(bits_VC), None
        integers_VC, scales_V = self.empty(tuple(embed_VC.shape), np.int8), np.empty(len(embed_VC), np.float32)
        for start in range(0, len(embed_VC), EMBED_CHUNK):
            chunk_VC = embed_VC[start : start + EMBED_CHUNK].float()
            scales = chunk_VC.abs().amax(dim=1) / MAX_INT8
            divisors = torch.where(scales > 0, scales, torch.ones(()))
            integers_VC[start : start + EMBED_CHUNK] = (chunk_VC / divisors[:, None]).round().to(torch.int8).numpy()
            scales_V[start : start + EMBED_CHUNK] = scales.numpy()
        return self._format, self.address(integers_VC), self.address(scales_V)


def float_format(weights: EncoderWeights) -> WeightFormat:
    """BFLOAT16 if it represents all matrices exactly, else FLOAT32."""
    names = [name for name, shape in weight_shapes(weights.config).items() if len(shape) == 2]
    is_exact = all(_is_exact_in_bfloat16(weights.tensor(name)) for name in names if name != "position.weight")
    return WeightFormat.BFLOAT16 if is_exact else WeightFormat.FLOAT32


def _is_exact_in_bfloat16(tensor: Tensor) -> bool:
    chunks = (tensor[start : start + EMBED_CHUNK] for start in range(0, len(tensor), EMBED_CHUNK))
    return tensor.dtype == torch.bfloat16 or all(torch.equal(rows.bfloat16().float(), rows.float()) for rows in chunks)
